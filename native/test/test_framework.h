// The whole test framework of native/test: TEST registers, CHECK... report file, line and values and go on, SKIP ends a
// test that this machine cannot run.
//   native_tests [--device cpu|cuda] [filter]   runs the tests whose name contains `filter`; on a GPU those that were
//                                               written with OP_TEST. The last line says 'N passed, N failed,
//                                               N skipped'
#pragma once

#include <atomic>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vitrine::test {

struct TestCase {
  const char* name;
  void (*run)();
  bool on_any_device;
};

inline std::vector<TestCase>& test_cases() {
  static std::vector<TestCase> cases;
  return cases;
}

/// Failed checks of the running test; checks may run on any thread.
inline std::atomic<int>& failed_checks() {
  static std::atomic<int> count{0};
  return count;
}

/// What SKIP throws.
struct Skipped {
  std::string why;
};

constexpr int kSkippedExit = 77;  ///< nothing could be run, as test drivers take it

struct Registration {
  Registration(const char* name, void (*run)(), bool on_any_device) {
    test_cases().push_back({name, run, on_any_device});
  }
};

template <class Value>
std::string shown(const Value& value) {
  if constexpr (std::is_enum_v<Value>) {
    return std::to_string(static_cast<long long>(value));
  } else {
    std::ostringstream text;
    text.precision(9);
    text << value;
    return text.str();
  }
}

inline void report_failure(const char* file, int line, const std::string& what) {
  constexpr int kMostReports = 20;  // of one test
  if (failed_checks().fetch_add(1) < kMostReports) std::fprintf(stderr, "  %s:%d: %s\n", file, line, what.c_str());
}

template <class A, class B>
void check_equal(const A& a, const B& b, const char* a_text, const char* b_text, const char* file, int line) {
  if (!(a == b)) {
    report_failure(file, line, std::string(a_text) + " == " + b_text + ": " + shown(a) + " is not " + shown(b));
  }
}

inline void check_near(double value, double expected, double tolerance, const char* text, const char* file, int line) {
  if (!(std::abs(value - expected) <= tolerance)) {
    report_failure(
        file, line,
        std::string(text) + ": " + shown(value) + " is not within " + shown(tolerance) + " of " + shown(expected));
  }
}

inline void check_throws(const std::function<void()>& body, std::string_view part, const char* text, const char* file,
                         int line) {
  try {
    body();
  } catch (const std::exception& error) {
    if (std::string_view(error.what()).find(part) == std::string_view::npos) {
      report_failure(file, line,
                     std::string(text) + " threw \"" + error.what() + "\", expected \"" + std::string(part) + "\"");
    }
    return;
  }
  report_failure(file, line, std::string(text) + " did not throw \"" + std::string(part) + "\"");
}

/// Returns the exit code of the program. `on_device`: only tests that run on any device.
inline int run_tests(std::string_view filter, bool on_device) {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  for (const TestCase& test : test_cases()) {
    if (std::string_view(test.name).find(filter) == std::string_view::npos) continue;
    if (on_device && !test.on_any_device) continue;
    failed_checks() = 0;
    std::string skip;
    try {
      test.run();
    } catch (const Skipped& thrown) {
      skip = ": " + thrown.why;
    } catch (const std::exception& error) {
      report_failure(test.name, 0, std::string("uncaught: ") + error.what());
    }
    const bool ok = failed_checks() == 0;
    ++(!ok ? failed : skip.empty() ? passed : skipped);
    std::printf("%s  %s%s\n", !ok ? "FAIL" : skip.empty() ? "ok  " : "SKIP", test.name, skip.c_str());
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  if (failed == 0 && passed == 0 && skipped > 0) return kSkippedExit;
  return failed == 0 && passed > 0 ? 0 : 1;  // a filter that matches nothing is a mistake
}

}  // namespace vitrine::test

#define VITRINE_JOIN2(a, b) a##b
#define VITRINE_JOIN(a, b) VITRINE_JOIN2(a, b)
#define VITRINE_TEST(name, on_any_device)                                           \
  static void VITRINE_JOIN(test_, __LINE__)();                                      \
  static const ::vitrine::test::Registration VITRINE_JOIN(registration_, __LINE__)( \
      name, VITRINE_JOIN(test_, __LINE__), on_any_device);                          \
  static void VITRINE_JOIN(test_, __LINE__)()
#define TEST(name) VITRINE_TEST(name, false)
/// A test of ops by for_each_backend().
#define OP_TEST(name) VITRINE_TEST(name, true)

/// Ends the test here, on its own thread: it counts as skipped unless a check has failed. `why`: what this machine
/// lacks.
#define SKIP(why) \
  throw ::vitrine::test::Skipped { why }

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (!(condition)) ::vitrine::test::report_failure(__FILE__, __LINE__, #condition); \
  } while (false)
#define CHECK_MESSAGE(condition, message)                                                                            \
  do {                                                                                                               \
    if (!(condition)) ::vitrine::test::report_failure(__FILE__, __LINE__, std::string(#condition ": ") + (message)); \
  } while (false)
#define CHECK_EQ(a, b) ::vitrine::test::check_equal((a), (b), #a, #b, __FILE__, __LINE__)
#define CHECK_NEAR(value, expected, tolerance) \
  ::vitrine::test::check_near((value), (expected), (tolerance), #value, __FILE__, __LINE__)
/// The expression throws a std::exception whose message contains `part`.
#define CHECK_THROWS_WITH(expression, part) \
  ::vitrine::test::check_throws([&] { (void)(expression); }, (part), #expression, __FILE__, __LINE__)

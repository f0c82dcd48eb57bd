// The pool: every index once, exceptions, sleeping and spinning workers, more threads than processors, cgroup quotas.
#include "core/thread_pool.h"

#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <thread>
#include <vector>

#include "core/check.h"
#include "core/placement.h"
#include "core/processors.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

double process_cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// A folder tree that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "vitrine-XXXXXX").string();
    require(mkdtemp(name.data()) != nullptr, "cannot make ", name);
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path target = path_ + file;
    std::filesystem::create_directories(target.parent_path());
    std::ofstream(target) << text;
  }

 private:
  std::string path_;
};

}  // namespace

TEST("thread_pool: each index runs once, for any number of threads and tasks") {
  for (const int threads : {1, 2, 3, 9}) {
    ThreadPool pool(threads);
    CHECK_EQ(pool.size(), threads);
    for (const int64_t count : {0, 1, 2, 3, 17, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      pool.parallel_for(count, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
      for (const auto& each : runs) CHECK_EQ(each.load(), 1);
    }
  }
}

TEST("thread_pool: results of one job are seen by the next, over many short jobs") {
  ThreadPool pool(4);
  std::vector<int64_t> values(8, 0);
  for (int round = 0; round < 20000; ++round) {
    pool.parallel_for(8, [&](int64_t i) {
      int64_t& own = values[static_cast<size_t>(i)];
      own = std::max(own, values[static_cast<size_t>(i)]) + 1;
    });
  }
  for (const int64_t value : values) CHECK_EQ(value, 20000);
}

TEST("thread_pool: workers that have gone to sleep wake up") {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int64_t> sum{0};
    pool.parallel_for(64, [&](int64_t i) { sum += i; });
    CHECK_EQ(sum.load(), 64 * 63 / 2);
  }
}

TEST("thread_pool: all threads take part in tasks that wait for each other") {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  pool.parallel_for(2, [&](int64_t) {  // neither can end alone
    ++arrived;
    while (arrived.load() < 2) std::this_thread::yield();
  });
  CHECK_EQ(arrived.load(), 2);
}

TEST("thread_pool: the caller sleeps while a worker's task is long") {
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> arrived{0};
  std::atomic<bool> done{false};
  pool.parallel_for(2, [&](int64_t) {
    ++arrived;
    while (arrived.load() < 2) std::this_thread::yield();
    if (std::this_thread::get_id() == caller) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    done = true;
  });
  CHECK(done.load());
}

TEST("thread_pool: the first exception comes out after all tasks have run, and the pool goes on") {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> ran{0};
      const auto failing = [&](int64_t i) {
        ++ran;
        if (i % 10 == 3) fail("task ", i);
      };
      CHECK_THROWS_WITH(pool.parallel_for(40, failing), "task ");
      if (threads > 1) CHECK_EQ(ran.load(), 40);
      ran = 0;
      pool.parallel_for(40, [&](int64_t) { ++ran; });
      CHECK_EQ(ran.load(), 40);
    }
  }
}

TEST("thread_pool: an idle pool uses no processor time") {
  ThreadPool pool(4);
  pool.parallel_for(16, [](int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK_MESSAGE(process_cpu_seconds() - before < 0.05, "seconds used: " + shown(process_cpu_seconds() - before));
}

TEST("thread_pool: two pools at once, both with more threads than processors") {
  std::atomic<int64_t> total{0};
  const auto work = [&] {
    ThreadPool pool(6);
    pool.pin_caller();
    for (int round = 0; round < 300; ++round) pool.parallel_for(13, [&](int64_t i) { total += i; });
  };
  std::thread a(work);
  std::thread b(work);
  a.join();
  b.join();
  CHECK_EQ(total.load(), 2 * 300 * 13 * 12 / 2);
}

TEST("thread_pool: a negative or absurd size is refused") {
  CHECK_THROWS_WITH(ThreadPool(-1), "thread count must be between 0 and 4096, got -1");
  CHECK_THROWS_WITH(ThreadPool(5000), "got 5000");
}

TEST("processors: the default is what this process may use") {
  CHECK(!allowed_processors().empty());
  CHECK(usable_processor_count() >= 1);
  CHECK(usable_processor_count() <= static_cast<int>(allowed_processors().size()));
  CHECK_EQ(ThreadPool(0).size(), usable_processor_count());
}

TEST("placement: pinned threads of engines are seen in every process, others and unpinned ones are not") {
  const TemporaryFolder proc;
  CHECK(pinned_engine_threads(proc.path()).empty());
  CHECK(pinned_engine_threads(proc.path() + "/missing").empty());
  const auto thread = [&](const std::string& at, const std::string& name, const std::string& processors) {
    proc.write("/" + at + "/comm", name + "\n");
    proc.write("/" + at + "/status",
               "Name:\t" + name + "\nCpus_allowed:\tff\nCpus_allowed_list:\t" + processors + "\n");
  };
  thread("10/task/10", "node", "0-7");
  thread("10/task/11", "vitrine-engine", "2");
  thread("10/task/12", "vitrine-cpu1", "3");
  thread("20/task/21", "vitrine-engine", "3");
  thread("20/task/22", "vitrine-cpu1", "0-7");
  thread("20/task/23", "vitrine-cpu2", "4,6");
  thread("30/task/30", "other", "5");
  thread("self/task/10", "vitrine-engine", "7");
  proc.write("/40/task/41/comm", "vitrine-engine\n");  // it has just ended
  const std::map<int, int> expected{{2, 2}, {3, 1 + 2}};
  CHECK(pinned_engine_threads(proc.path()) == expected);
}

TEST("placement: the processors with the least load come first, equal ones in their order") {
  CHECK(least_loaded_first({0, 1, 2, 3}, {}) == std::vector<int>({0, 1, 2, 3}));
  CHECK(least_loaded_first({0, 1, 2, 3}, {{0, 2}, {1, 1}}) == std::vector<int>({2, 3, 1, 0}));
  CHECK(least_loaded_first({4, 5}, {{4, 2}, {5, 1}, {0, 9}}) == std::vector<int>({5, 4}));
}

TEST("placement: a lock that another one holds is not waited for for ever") {
  {
    const PlacementLock first;
    const PlacementLock second;
    CHECK(!(first.held() && second.held()));
  }
  bool held = false;  // unless an engine beside this test has it
  for (int i = 0; i < 20 && !held; ++i) held = PlacementLock().held();
  CHECK(held);
}

TEST("thread_pool: a thread that is kept off the caller's processor may use all others") {
  if (allowed_processors().size() < 2) SKIP("there is one processor");
  const auto mask = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    return set;
  };
  cpu_set_t of_caller;
  cpu_set_t of_other;
  std::thread caller([&] {
    ThreadPool pool(1);
    pool.pin_caller();
    of_caller = mask();
    std::thread([&] {
      cpu_set_t all;
      CPU_ZERO(&all);
      for (const int processor : allowed_processors()) CPU_SET(processor, &all);
      sched_setaffinity(0, sizeof(all), &all);
      pool.keep_off_caller();
      of_other = mask();
    }).join();
  });
  caller.join();
  CHECK_EQ(CPU_COUNT(&of_caller), 1);
  CHECK_EQ(CPU_COUNT(&of_other), static_cast<int>(allowed_processors().size()) - 1);
  cpu_set_t both;
  CPU_AND(&both, &of_caller, &of_other);
  CHECK_EQ(CPU_COUNT(&both), 0);
}

TEST("processors: cgroup v2 quota of the group or a parent") {
  const TemporaryFolder mount;
  const std::string group = "0::/system.slice/server.service\n";
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 0);
  mount.write("/system.slice/server.service/cpu.max", "max 100000\n");
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 0);
  mount.write("/system.slice/cpu.max", "350000 100000\n");
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 3);
  mount.write("/system.slice/server.service/cpu.max", "50000 100000\n");
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 1);
  CHECK_EQ(cgroup_cpu_limit("0::/\n", mount.path()), 0);
}

TEST("processors: cgroup v1 quota, and a container whose path is the host's") {
  const TemporaryFolder mount;
  const std::string group = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n";
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 0);
  mount.write("/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  mount.write("/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 0);
  mount.write("/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  CHECK_EQ(cgroup_cpu_limit(group, mount.path()), 2);
  CHECK_EQ(cgroup_cpu_limit("not a cgroup file", mount.path()), 0);
}

}  // namespace vitrine::test

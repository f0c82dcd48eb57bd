// Demangled by the C++ runtime; the rest is cutting at brackets.
#include "profiler/kernel_name.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

namespace vitrine {
namespace {

void remove_all(std::string& text, std::string_view part) {
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at)) text.erase(at, part.size());
}

/// Of `text`, from the last space outside of brackets (after the return type) to the bracket of the parameters.
std::string function_of(const std::string& text) {
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '(' && depth == 0) return text.substr(begin, i - begin);
    if (c == '<' || c == '(' || c == '[') ++depth;
    if (c == '>' || c == ')' || c == ']') --depth;
    if (c == ' ' && depth == 0) begin = i + 1;
  }
  return text.substr(begin);
}

}  // namespace

std::string short_kernel_name(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                              std::free);
  if (status != 0 || demangled == nullptr) return mangled;
  std::string text = demangled.get();
  for (const std::string_view part : {"(anonymous namespace)::", "vitrine::cuda::", "vitrine::"})
    remove_all(text, part);
  std::string name = function_of(text);
  return name.empty() ? text : name;
}

}  // namespace vitrine

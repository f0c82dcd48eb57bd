// How native code reports what is wrong: an exception with a sentence. It becomes a JS error in binding/ only.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace vitrine {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}

/// Checks what comes from outside; `parts` make the sentence.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(parts...);
}

}  // namespace vitrine

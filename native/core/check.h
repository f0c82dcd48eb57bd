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

/// A device, or the host, has no memory left for what was asked.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(sentence(parts...));
}

/// Checks what comes from outside; `parts` make the sentence.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(parts...);
}

}  // namespace vitrine

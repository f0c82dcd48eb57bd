// Reads plain JavaScript objects into C++ structs; every complaint starts with the path of the value.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <string>

namespace vitrine {

class ValueReader {
 public:
  ValueReader(Napi::Value value, std::string path) : value_(value), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  bool is_null() const { return value_.IsNull(); }
  bool is_undefined() const { return value_.IsUndefined(); }

  /// A property. Throws Error when this is not an object.
  ValueReader operator[](const char* key) const;
  int64_t integer(int64_t least, int64_t most = INT32_MAX) const;
  int32_t int32(int32_t least, int32_t most = INT32_MAX) const { return static_cast<int32_t>(integer(least, most)); }
  /// A finite number.
  double number() const;
  double positive_number() const;
  bool boolean() const;
  std::string string() const;
  /// Calls `read` with each element of the array, in order.
  void each(const std::function<void(const ValueReader&)>& read) const;

  /// Throws Error "path: expected ..., got ...".
  [[noreturn]] void reject(const std::string& expected) const;

 private:
  std::string describe() const;

  Napi::Value value_;
  std::string path_;
};

}  // namespace vitrine

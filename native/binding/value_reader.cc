// Type and range checks of values that come from JavaScript.
#include "binding/value_reader.h"

#include <cmath>

#include "core/check.h"

namespace vitrine {

ValueReader ValueReader::operator[](const char* key) const {
  if (!value_.IsObject() || value_.IsArray()) reject("an object");
  return {value_.As<Napi::Object>().Get(key), path_ + "." + key};
}

int64_t ValueReader::integer(int64_t least, int64_t most) const {
  const double number = value_.IsNumber() ? value_.As<Napi::Number>().DoubleValue() : NAN;
  if (number == std::floor(number) && number >= static_cast<double>(least) && number <= static_cast<double>(most)) {
    return static_cast<int64_t>(number);
  }
  const bool open = most >= INT32_MAX;
  if (open && least == 0) reject("a non-negative integer");
  if (open && least == 1) reject("a positive integer");
  reject("an integer from " + std::to_string(least) + " to " + std::to_string(most));
}

double ValueReader::number() const {
  const double number = value_.IsNumber() ? value_.As<Napi::Number>().DoubleValue() : NAN;
  if (!std::isfinite(number)) reject("a finite number");
  return number;
}

double ValueReader::positive_number() const {
  const double number = value_.IsNumber() ? value_.As<Napi::Number>().DoubleValue() : NAN;
  if (!std::isfinite(number) || number <= 0) reject("a positive number");
  return number;
}

bool ValueReader::boolean() const {
  if (!value_.IsBoolean()) reject("true or false");
  return value_.As<Napi::Boolean>().Value();
}

std::string ValueReader::string() const {
  if (!value_.IsString()) reject("a string");
  return value_.As<Napi::String>().Utf8Value();
}

void ValueReader::each(const std::function<void(const ValueReader&)>& read) const {
  if (!value_.IsArray()) reject("an array");
  const auto array = value_.As<Napi::Array>();
  const uint32_t length = array.Length();
  for (uint32_t i = 0; i < length; ++i) {
    const Napi::HandleScope scope(value_.Env());
    read({array.Get(i), path_ + "[" + std::to_string(i) + "]"});
  }
}

void ValueReader::reject(const std::string& expected) const {
  fail(path_, ": expected ", expected, ", got ", describe());
}

std::string ValueReader::describe() const {
  if (value_.IsString()) {
    const std::string text = value_.As<Napi::String>().Utf8Value();
    return "'" + (text.size() > 60 ? text.substr(0, 60) + "…" : text) + "'";
  }
  if (value_.IsArray()) return "an array";
  if (value_.IsFunction()) return "a function";
  if (value_.IsObject()) return "an object";
  if (value_.IsSymbol()) return "a symbol";
  return value_.ToString().Utf8Value();
}

}  // namespace vitrine

// The 8-bit type, every code of it, against its definition in double.
#include "core/dtype.h"

#include <array>
#include <bit>
#include <cmath>

#include "test_framework.h"

namespace vitrine::test {
namespace {

constexpr int kNaN = 0x7f;  ///< without its sign

/// What the specification says of a code that is not NaN: 1 sign, 4 exponent (bias 7) and 3 mantissa bits.
double value_of(int code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

/// The code nearest to a number, by comparing with all: ties go to the even one, what lies beyond the largest becomes
/// the largest.
int nearest_code(float value) {
  if (std::isnan(value)) return kNaN;
  const double magnitude = std::abs(double{value});
  int best = 0;
  for (int code = 1; code < kNaN; ++code) {
    const double distance = std::abs(value_of(code) - magnitude);
    const double least = std::abs(value_of(best) - magnitude);
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return best;
}

void check_rounding(float value) {
  const int code = float_to_e4m3(value);
  const int sign = std::signbit(value) ? 0x80 : 0;
  CHECK_MESSAGE(code == (sign | nearest_code(value)), shown(value) + " became " + shown(code));
}

}  // namespace

TEST("dtype: each code of float8_e4m3fn is the number of the specification, and comes back") {
  for (int code = 0; code < 256; ++code) {
    const float value = e4m3_to_float(static_cast<uint8_t>(code));
    if ((code & kNaN) == kNaN) {
      CHECK(std::isnan(value));
    } else {
      CHECK_EQ(double{value}, value_of(code));
      CHECK_EQ(std::signbit(value), code >= 0x80);
    }
    CHECK_EQ(int{float_to_e4m3(value)}, code);
  }
  CHECK_EQ(e4m3_to_float(0x7e), 448.0f);
  CHECK_EQ(e4m3_to_float(0x01), 0x1p-9f);
  CHECK_EQ(dtype_size(DType::kFloat8E4M3), size_t{1});
}

TEST("dtype: float8_e4m3fn rounds to nearest, ties to even, and saturates") {
  for (int code = 0; code + 1 < kNaN; ++code) {
    const auto between = static_cast<float>((value_of(code) + value_of(code + 1)) / 2);  // exact in float
    for (const float value : {between, std::nextafter(between, 0.0f), std::nextafter(between, 1000.0f)}) {
      check_rounding(value);
      check_rounding(-value);
    }
  }
  for (uint32_t high = 0; high < 0x10000; ++high) {  // every sign, exponent and upper mantissa of a float
    for (const uint32_t low : {0x0000u, 0x0001u, 0x8000u, 0xffffu})
      check_rounding(std::bit_cast<float>(high << 16 | low));
  }
}

}  // namespace vitrine::test

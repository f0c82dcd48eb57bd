// How a row of numbers becomes float8_e4m3fn, weights at load and activations in every product: scale = max(largest
// magnitude, kFloat8LeastMagnitude) / kFloat8Largest, codes = x / scale, each operation rounded to float32 and the code
// to the nearest, ties to even. A row with a number that is not finite has the scale NaN, and so has all that it is
// multiplied with. Host and device code.
#pragma once

namespace vitrine {

inline constexpr float kFloat8Largest = 448.0f;
inline constexpr float kFloat8LeastMagnitude = 1e-10f;  ///< a row of zeros has a scale too; as SGLang has it

}  // namespace vitrine

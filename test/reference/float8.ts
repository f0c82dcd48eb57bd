// float8_e4m3fn by its definition, in float64: 1 sign, 4 exponent bits (bias 7), 3 of mantissa, largest 448.
const LARGEST = 448;
const SMALLEST_EXPONENT = -6;

/** The nearest number of the format, ties to the one with an even mantissa; what is larger becomes the largest. */
export function roundToFloat8(value: number): number {
  const magnitude = Math.min(Math.abs(value), LARGEST);
  const exponent = magnitude === 0 ? SMALLEST_EXPONENT : Math.max(SMALLEST_EXPONENT, Math.floor(Math.log2(magnitude)));
  const step = 2 ** (exponent - 3);
  const steps = magnitude / step;
  const below = Math.floor(steps);
  const isUp = steps - below > 0.5 || (steps - below === 0.5 && below % 2 === 1);
  return Math.sign(value) * (isUp ? below + 1 : below) * step;
}

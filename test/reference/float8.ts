// float8_e4m3fn by its definition, in float64: 1 sign, 4 exponent bits (bias 7), 3 of mantissa, largest 448; and how rows are
// quantized to it, as native/core/float8_rows.h says.
const LARGEST = 448;
const SMALLEST_EXPONENT = -6;
const LEAST_MAGNITUDE = Math.fround(1e-10);

/** The number of a code; NaN where all bits but the sign are 1. */
export function float8Value(code: number): number {
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  if (exponent === 15 && mantissa === 7) return Number.NaN;
  const magnitude = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

const CODES: ReadonlyMap<number, number> = new Map(Array.from({ length: 127 }, (_, code) => [float8Value(code), code]));

/** The code of the nearest number. */
export function float8Code(value: number): number {
  return CODES.get(Math.abs(roundToFloat8(value)))! | (value < 0 ? 0x80 : 0);
}

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

/** Of a row, which is rounded to float32 first: that is what the engine has. */
export function rowScale(row: ArrayLike<number>): number {
  const largest = Float32Array.from(row).reduce((max, value) => Math.max(max, Math.abs(value)), LEAST_MAGNITUDE);
  return Math.fround(largest / LARGEST);
}

/** What the codes and the scale of a quantized row stand for. */
export function dequantizedRow(row: ArrayLike<number>): Float64Array {
  const scale = rowScale(row);
  return Float64Array.from(row, (value) => roundToFloat8(Math.fround(Math.fround(value) / scale)) * scale);
}

// float8_e4m3fn by its definition, and how rows are quantized to it: as native/core/float8_rows.h says, by other code.

const LARGEST = 448;
const LEAST_MAGNITUDE = Math.fround(1e-10);

/** 1 sign, 4 exponent (bias 7) and 3 mantissa bits; all ones is NaN. */
export function float8Value(code: number): number {
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  if (exponent === 15 && mantissa === 7) return Number.NaN;
  const magnitude = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

/** The nearest code, ties to the even one; what is larger than the largest becomes it. */
export function float8Code(value: number): number {
  const magnitude = Math.min(Math.abs(value), LARGEST);
  let code = 0;
  while (code < 0x7e && float8Value(code + 1) <= magnitude) code++;
  if (code < 0x7e) {
    const middle = (float8Value(code) + float8Value(code + 1)) / 2;
    if (magnitude > middle || (magnitude === middle && code % 2 === 1)) code++;
  }
  return value < 0 || Object.is(value, -0) ? code | 0x80 : code;
}

export interface Float8Row {
  readonly codes: Uint8Array;
  readonly scale: number;
}

/** `row`: rounded to float32 first, which is what the engine has. */
export function quantizeRow(row: ArrayLike<number>): Float8Row {
  const values = Float32Array.from(row);
  const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), LEAST_MAGNITUDE);
  const scale = Math.fround(largest / LARGEST);
  return { codes: Uint8Array.from(values, (value) => float8Code(Math.fround(value / scale))), scale };
}

/** What a quantized row stands for. */
export function dequantizedRow(row: ArrayLike<number>): Float64Array {
  const { codes, scale } = quantizeRow(row);
  return Float64Array.from(codes, (code) => float8Value(code) * scale);
}

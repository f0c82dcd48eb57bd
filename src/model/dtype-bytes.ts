// Bytes of an element of each dtype.
import type { StoredDType } from '../native/addon.js';

export const DTYPE_BYTES: Readonly<Record<StoredDType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float8_e4m3fn: 1,
};

/** Of a matrix as it is held: float8 has a float32 scale for each row. */
export function matrixBytes(dtype: StoredDType, rows: number, cols: number): number {
  return rows * cols * DTYPE_BYTES[dtype] + (dtype === 'float8_e4m3fn' ? 4 * rows : 0);
}

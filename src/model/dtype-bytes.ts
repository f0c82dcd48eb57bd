// Bytes of an element of each dtype.
import type { DType } from '../native/addon.js';

export const DTYPE_BYTES: Readonly<Record<DType, number>> = { float32: 4, float16: 2, bfloat16: 2 };

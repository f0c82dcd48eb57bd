// Bytes of an element of each dtype.
import type { KvCacheDType } from '../native/addon.js';

export const DTYPE_BYTES: Readonly<Record<KvCacheDType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float8_e4m3fn: 1,
};

// How far a phase is from what the machine allows: the least time for its bytes or its operations over the time it took.
import type { Work } from '../../model/step-work.js';
import type { DType, MachineLimits } from '../../native/addon.js';

export interface Roofline {
  /** Least possible time / time. */
  readonly share: number;
  /** Which of the two takes longer at its limit. */
  readonly bound: 'memory' | 'compute';
  /** Reached and possible, in bytes or operations per second. */
  readonly rate: number;
  readonly limit: number;
}

/**
 * `seconds` that the work took, in a model of this dtype. A processor may multiply bfloat16 at a rate of its own; all else, float8
 * too, it multiplies as float32. Where a step has both, `limit` is their mean rate.
 */
export function rooflineOf(work: Work, seconds: number, limits: MachineLimits, dtype: DType): Roofline {
  const { flops, float8Flops, bytes } = work;
  const { readBytesPerSecond, float32FlopsPerSecond: float32, bfloat16FlopsPerSecond: bfloat16 } = limits;
  const memory = bytes / readBytesPerSecond;
  const arithmetic =
    float8Flops / float32 + (flops - float8Flops) / (dtype === 'bfloat16' && bfloat16 > 0 ? bfloat16 : float32);
  return memory >= arithmetic
    ? { share: memory / seconds, bound: 'memory', rate: bytes / seconds, limit: readBytesPerSecond }
    : { share: arithmetic / seconds, bound: 'compute', rate: flops / seconds, limit: flops / arithmetic };
}

/** `62 % of the memory limit (31.2 of 50.3 GB/s)` */
export function describeRoofline({ share, bound, rate, limit }: Roofline): string {
  const unit = bound === 'memory' ? 'GB/s' : 'GFLOP/s';
  const giga = (value: number): string => (value >= 1e11 ? (value / 1e9).toFixed(0) : (value / 1e9).toPrecision(3));
  return `${(share * 100).toFixed(0)} % of the ${bound} limit (${giga(rate)} of ${giga(limit)} ${unit})`;
}

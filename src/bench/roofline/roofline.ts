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

/** `seconds` that the work took, in a model of this dtype. */
export function rooflineOf({ flops, bytes }: Work, seconds: number, limits: MachineLimits, dtype: DType): Roofline {
  const compute = dtype === 'bfloat16' ? limits.bfloat16FlopsPerSecond : 0;
  const flopsLimit = compute > 0 ? compute : limits.float32FlopsPerSecond;
  const memory = bytes / limits.readBytesPerSecond;
  const arithmetic = flops / flopsLimit;
  return memory >= arithmetic
    ? { share: memory / seconds, bound: 'memory', rate: bytes / seconds, limit: limits.readBytesPerSecond }
    : { share: arithmetic / seconds, bound: 'compute', rate: flops / seconds, limit: flopsLimit };
}

/** `62 % of the memory limit (31.2 of 50.3 GB/s)` */
export function describeRoofline({ share, bound, rate, limit }: Roofline): string {
  const unit = bound === 'memory' ? 'GB/s' : 'GFLOP/s';
  const giga = (value: number): string => (value >= 1e11 ? (value / 1e9).toFixed(0) : (value / 1e9).toPrecision(3));
  return `${(share * 100).toFixed(0)} % of the ${bound} limit (${giga(rate)} of ${giga(limit)} ${unit})`;
}

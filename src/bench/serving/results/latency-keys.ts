// The keys of a latency in a result: seconds in, milliseconds out.
import type { Interval } from '../../statistics/confidence.js';
import type { Sample } from '../../statistics/statistics.js';

const MS = 1000;

/** Percentiles that every latency has: in SGLang's keys or in ours. */
export const PERCENTS = [90, 95, 99, 99.9];

/** Mean, median, standard deviation and the percentiles that are asked for. */
export function latencyKeys(name: string, sample: Sample, percents: readonly number[]): Record<string, number> {
  return {
    [`mean_${name}_ms`]: sample.mean * MS,
    [`median_${name}_ms`]: sample.median * MS,
    [`std_${name}_ms`]: sample.standardDeviation * MS,
    ...percentileKeys(name, sample, percents),
  };
}

/** p99.9 is p999, as others write it. */
export function percentileKeys(name: string, sample: Sample, percents: readonly number[]): Record<string, number> {
  const keys = percents.map((percent) => `p${String(percent).replace('.', '')}_${name}_ms`);
  return Object.fromEntries(keys.map((key, i) => [key, sample.percentile(percents[i]!) * MS]));
}

/** null where there is no interval. */
export function meanIntervalKey(name: string, interval: Interval | undefined): Record<string, Interval | null> {
  return { [`ci95_mean_${name}_ms`]: interval === undefined ? null : [interval[0] * MS, interval[1] * MS] };
}

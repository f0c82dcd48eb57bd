// When the requests of a run arrive, as absolute times: a late timer delays one request, never all that follow.
import { VitrineError } from '../../../util/errors.js';
import type { BenchRequest, Workload } from '../../datasets/bench-request.js';
import { Random } from '../../random.js';

/** A workload and when each of its requests arrives. */
export interface ScheduledWorkload extends Workload {
  /** Seconds after the start, ascending, of each request. */
  readonly arrivals: Float64Array;
  /** Requests per second, or 'trace' where the dataset says when they come. */
  readonly rate: number | 'trace';
}

export interface ScheduleSettings {
  readonly requestRate: number;
  readonly useTraceTimestamps: boolean;
  readonly seed: number;
}

/**
 * The times of the dataset, where it has some and no finite rate is asked for (or --use-trace-timestamps insists);
 * otherwise times drawn by the rate. Error: INVALID_OPTION
 */
export function scheduleWorkload(workload: Workload, settings: ScheduleSettings): ScheduledWorkload {
  const { requestRate, useTraceTimestamps, seed } = settings;
  const timed = workload.requests.filter(hasTimestamp);
  const isTimed = timed.length === workload.requests.length;
  if (useTraceTimestamps && !isTimed) {
    const message = '--use-trace-timestamps needs a dataset whose requests have timestamps (mooncake, workload)';
    throw new VitrineError('INVALID_OPTION', message, { param: '--use-trace-timestamps' });
  }
  if (!isTimed || (Number.isFinite(requestRate) && !useTraceTimestamps)) {
    const arrivals = arrivalTimes(workload.requests.length, requestRate, seed);
    return { ...workload, arrivals, rate: requestRate };
  }
  const requests = timed.sort((a, b) => a.timestamp - b.timestamp);
  const first = requests[0]?.timestamp ?? 0;
  return { ...workload, requests, arrivals: Float64Array.from(requests, (r) => r.timestamp - first), rate: 'trace' };
}

const hasTimestamp = (request: BenchRequest): request is BenchRequest & { readonly timestamp: number } =>
  request.timestamp !== undefined;

/**
 * Seconds after the start, ascending; the first is 0. A finite rate gives Poisson arrivals of which so many come in just the
 * time that the rate gives them: exponential gaps, scaled to the mean 1 / rate. Unscaled, the load of 12,000 requests would
 * be 1 % more or less than was asked for, by the luck of the seed.
 */
export function arrivalTimes(count: number, requestRate: number, seed: number): Float64Array {
  const times = new Float64Array(count);
  if (!Number.isFinite(requestRate) || count < 2) return times;
  const random = new Random(seed, 'arrivals');
  for (let i = 1; i < count; i++) times[i] = times[i - 1]! + random.exponential(1);
  const scale = (count - 1) / requestRate / times[count - 1]!;
  return times.map((time) => time * scale);
}

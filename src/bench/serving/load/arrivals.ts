// When the requests of a run arrive, as absolute times: a late timer delays one request, never all that follow.
import { Random } from '../../random.js';

/**
 * Seconds after the start, ascending; the first is 0. A finite rate gives Poisson arrivals: gaps are exponential with the
 * mean 1 / rate.
 */
export function arrivalTimes(count: number, requestRate: number, seed: number): Float64Array {
  const times = new Float64Array(count);
  if (!Number.isFinite(requestRate)) return times;
  const random = new Random(seed, 'arrivals');
  for (let i = 1; i < count; i++) times[i] = times[i - 1]! + random.exponential(1 / requestRate);
  return times;
}

// How long the engine stood still between two steps although there was something to compute, by the size of the batch: what
// scheduling costs, without the time in which nobody asked for anything.
import type { Interval } from '../read/trace-loader.js';
import { unionOf } from './interval-set.js';

export interface SizedStep extends Interval {
  /** Requests in it; 0 where the trace does not say. */
  readonly batchSize: number;
}

/** Batches of so many requests, both inclusive. */
export interface BatchClass {
  readonly from: number;
  readonly to: number;
}

/** Steps of one class cost a scheduler about the same. */
export const BATCH_CLASSES: readonly BatchClass[] = [
  { from: 1, to: 1 },
  { from: 2, to: 8 },
  { from: 9, to: 32 },
  { from: 33, to: 128 },
  { from: 129, to: Number.MAX_SAFE_INTEGER },
];

/**
 * Per class the gaps in ns, 0 where a step began as the one before it ended: those during the whole of which some request
 * was alive. A gap belongs to the step after it. `tracks`: the steps of each engine thread, in any order.
 */
export function waitingGaps(
  tracks: readonly (readonly SizedStep[])[],
  requests: readonly Interval[],
): ReadonlyMap<BatchClass, readonly number[]> {
  const alive = unionOf(requests);
  const gaps = new Map<BatchClass, number[]>();
  for (const track of tracks) {
    const steps = track.toSorted((a, b) => a.begin - b.begin);
    let life = 0;
    for (let i = 1; i < steps.length; i++) {
      const { end } = steps[i - 1]!;
      const { begin, batchSize } = steps[i]!;
      while (life < alive.length && alive[life]!.end < begin) life++;
      if (life === alive.length) break;
      const of = BATCH_CLASSES.find(({ from, to }) => batchSize >= from && batchSize <= to);
      if (of === undefined || alive[life]!.begin > end) continue;
      const list = gaps.get(of);
      if (list === undefined) gaps.set(of, [Math.max(0, begin - end)]);
      else list.push(Math.max(0, begin - end));
    }
  }
  return gaps;
}

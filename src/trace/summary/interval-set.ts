// Sets of time as sorted, disjoint intervals, in ns.
import type { Interval } from '../read/trace-loader.js';

/** The union of intervals. */
export function unionOf(intervals: readonly Interval[]): Interval[] {
  const sorted = intervals.filter(({ begin, end }) => end > begin).sort((a, b) => a.begin - b.begin);
  const union: { begin: number; end: number }[] = [];
  for (const { begin, end } of sorted) {
    const last = union.at(-1);
    if (last !== undefined && begin <= last.end) last.end = Math.max(last.end, end);
    else union.push({ begin, end });
  }
  return union;
}

export const totalOf = (intervals: readonly Interval[]): number =>
  intervals.reduce((sum, { begin, end }) => sum + end - begin, 0);

/** What of `from` is not in `taken`; both are unions. */
export function subtract(from: readonly Interval[], taken: readonly Interval[]): Interval[] {
  const left: Interval[] = [];
  let i = 0;
  for (const { begin, end } of from) {
    let at = begin;
    while (i < taken.length && taken[i]!.end <= at) i++;
    for (let j = i; j < taken.length && taken[j]!.begin < end; j++) {
      if (taken[j]!.begin > at) left.push({ begin: at, end: taken[j]!.begin });
      at = Math.max(at, taken[j]!.end);
    }
    if (at < end) left.push({ begin: at, end });
  }
  return left;
}

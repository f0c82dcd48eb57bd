// Two samples of one figure: how far they lie apart, and whether that is more than runs of one setup do.

import { readFigures } from '../results/figures.js';
import { type Direction, directionOf } from '../results/result-kinds.js';
import { type Interval, welchInterval } from '../statistics/confidence.js';
import { mean, Sample } from '../statistics/statistics.js';
import type { MatchedGroups } from './match-workloads.js';

export type Verdict = 'better' | 'worse' | 'different' | 'within the spread' | 'one run: no spread known';

export interface Side {
  readonly runs: number;
  readonly median: number;
  /** Half of the interquartile range; undefined for one run. */
  readonly spread: number | undefined;
}

export interface Comparison {
  readonly metric: string;
  readonly better: Direction;
  readonly a: Side;
  readonly b: Side;
  /** Of the medians, in % of a's; undefined where that is 0 and b's is not. */
  readonly differencePercent: number | undefined;
  /** Welch's 95 % interval of the difference of the means, in % of a's mean; undefined where a side has one run. */
  readonly intervalPercent: Interval | undefined;
  readonly verdict: Verdict;
}

/** The figures of `metrics` that both sides have. */
export function compareGroups({ a, b }: MatchedGroups, metrics: readonly string[]): Comparison[] {
  return metrics.flatMap((metric) => {
    const [left, right] = [readFigures(a.rows, metric), readFigures(b.rows, metric)];
    return left.length === 0 || right.length === 0 ? [] : [compareFigures(metric, left, right)];
  });
}

export function compareFigures(metric: string, a: readonly number[], b: readonly number[]): Comparison {
  const better = directionOf(metric);
  const interval = welchInterval(a, b);
  const [sideA, sideB] = [sideOf(a), sideOf(b)];
  const scale = Math.abs(mean(a));
  return {
    metric,
    better,
    a: sideA,
    b: sideB,
    differencePercent: percentOf(sideB.median - sideA.median, Math.abs(sideA.median)),
    intervalPercent: interval && scale > 0 ? [(interval[0] / scale) * 100, (interval[1] / scale) * 100] : undefined,
    verdict: verdictOf(better, interval),
  };
}

function sideOf(values: readonly number[]): Side {
  const sample = new Sample(values);
  const range = sample.percentile(75) - sample.percentile(25);
  return { runs: values.length, median: sample.median, spread: values.length > 1 ? range / 2 : undefined };
}

function percentOf(difference: number, whole: number): number | undefined {
  if (whole > 0) return (difference / whole) * 100;
  return difference === 0 ? 0 : undefined;
}

function verdictOf(better: Direction, interval: Interval | undefined): Verdict {
  if (interval === undefined) return 'one run: no spread known';
  const [low, high] = interval;
  if (low <= 0 && high >= 0) return 'within the spread';
  if (better === 'neither') return 'different';
  return low > 0 === (better === 'higher') ? 'better' : 'worse';
}

/** Whether b is worse by more than `percent` %, and by more than the spread where that is known. */
export function isRegression(comparison: Comparison, percent: number): boolean {
  const { better, differencePercent, a, b, verdict } = comparison;
  if (better === 'neither' || verdict === 'within the spread' || verdict === 'better') return false;
  const loss = better === 'higher' ? -1 : 1;
  // From nothing to something is more than any share.
  return differencePercent === undefined ? loss * (b.median - a.median) > 0 : loss * differencePercent > percent;
}

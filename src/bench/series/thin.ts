// Curves and clouds of more points than a chart can show, thinned to what it can, without losing an extreme.
import type { Numbers } from '../statistics/statistics.js';

export interface Points {
  /** Rising. */
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Points before thinning. */
  readonly total: number;
}

/**
 * At most `most` points (an even number): of each of most / 2 stretches of equally many points the lowest and the highest,
 * in order of x. `points`: [x, y] by rising x.
 */
export function thin(points: readonly (readonly [x: number, y: number])[], most: number): Points {
  const total = points.length;
  const stretches = most / 2;
  if (total <= most) return { x: points.map(([x]) => x), y: points.map(([, y]) => y), total };
  const kept: (readonly [number, number])[] = [];
  for (let i = 0; i < stretches; i++) {
    const from = Math.floor((i * total) / stretches);
    const to = Math.floor(((i + 1) * total) / stretches);
    let low = from;
    let high = from;
    for (let j = from + 1; j < to; j++) {
      if (points[j]![1] < points[low]![1]) low = j;
      if (points[j]![1] >= points[high]![1]) high = j;
    }
    kept.push(points[Math.min(low, high)]!);
    if (low !== high) kept.push(points[Math.max(low, high)]!);
  }
  return { x: kept.map(([x]) => x), y: kept.map(([, y]) => y), total };
}

/**
 * At most `most` points of a cloud in any order, by rising x: of each of most / 2 equally long stretches of x the lowest
 * and the highest. `x` and `y` have the same length.
 */
export function thinCloud(x: Float64Array, y: Float64Array, most: number): Points {
  const total = x.length;
  const kept = total <= most ? Array.from(x.keys()) : extremes(x, y, most / 2);
  kept.sort((a, b) => x[a]! - x[b]! || a - b);
  return { x: kept.map((i) => x[i]!), y: kept.map((i) => y[i]!), total };
}

/** Positions of the lowest and the highest of each stretch that has points. */
function extremes(x: Float64Array, y: Float64Array, stretches: number): number[] {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const at of x) {
    if (at < first) first = at;
    if (at > last) last = at;
  }
  const scale = last > first ? stretches / (last - first) : 0;
  const lowest = new Int32Array(stretches).fill(-1);
  const highest = new Int32Array(stretches).fill(-1);
  for (let i = 0; i < x.length; i++) {
    const stretch = Math.min(stretches - 1, Math.floor((x[i]! - first) * scale));
    const low = lowest[stretch]!;
    const high = highest[stretch]!;
    if (low < 0 || y[i]! < y[low]!) lowest[stretch] = i;
    if (high < 0 || y[i]! > y[high]!) highest[stretch] = i;
  }
  return [...new Set([...lowest, ...highest])].filter((i) => i >= 0);
}

/**
 * The share of `values` that are at most x, for every distinct x. Of more than `most` of them half of the points are spread
 * evenly and the others are the highest, one by one: the tail stays exact.
 */
export function cumulativeShare(values: Numbers, most: number): Points {
  const sorted = new Float64Array(values).sort();
  let total = 0;
  for (let i = 0; i < sorted.length; i++) if (sorted[i] !== sorted[i + 1]) total += 1;
  const tail = total > most ? most / 2 : total;
  const body = total - tail;
  const ofBody = most - tail;
  const x: number[] = [];
  const y: number[] = [];
  let distinct = 0;
  for (let i = 0; i < sorted.length; i++) {
    if (sorted[i] === sorted[i + 1]) continue;
    if (distinct >= body || distinct === Math.floor((x.length * body) / ofBody)) {
      x.push(sorted[i]!);
      y.push((i + 1) / sorted.length);
    }
    distinct += 1;
  }
  return { x, y, total };
}

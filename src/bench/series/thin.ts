// Curves and clouds of more points than a chart can show, thinned to what it can, without losing an extreme.

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
 * The share of `values` that are at most x, for every distinct x. Of more than `most` of them half of the points are spread
 * evenly and the others are the highest, one by one: the tail stays exact.
 */
export function cumulativeShare(values: readonly number[], most: number): Points {
  const sorted = Float64Array.from(values).sort();
  const x: number[] = [];
  const y: number[] = [];
  for (const [i, value] of sorted.entries()) {
    if (value === sorted[i + 1]) continue;
    x.push(value);
    y.push((i + 1) / sorted.length);
  }
  const total = x.length;
  if (total <= most) return { x, y, total };
  const tail = most / 2;
  const body = total - tail;
  const isKept = new Set(Array.from({ length: most - tail }, (_, i) => Math.floor((i * body) / (most - tail))));
  const kept = (_: number, i: number): boolean => i >= body || isKept.has(i);
  return { x: x.filter(kept), y: y.filter(kept), total };
}

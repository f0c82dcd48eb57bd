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
 * The share of `values` that are at most x, for every distinct x. Of more than `most` values half of the points are spread
 * evenly over all ranks and the others are the highest values, one by one: the tail stays exact.
 */
export function cumulativeShare(values: readonly number[], most: number): Points {
  const sorted = Float64Array.from(values).sort();
  const total = sorted.length;
  const tail = total > most ? Math.floor(most / 2) : total;
  const spread = total > most ? most - tail : 0;
  const ranks = [
    ...Array.from({ length: spread }, (_, i) => Math.floor((i * (total - tail)) / spread)),
    ...Array.from({ length: tail }, (_, i) => total - tail + i),
  ];
  const x: number[] = [];
  const y: number[] = [];
  for (const rank of ranks) {
    const share = (rank + 1) / total;
    if (x.at(-1) === sorted[rank]) y[y.length - 1] = share;
    else {
      x.push(sorted[rank]!);
      y.push(share);
    }
  }
  return { x, y, total };
}

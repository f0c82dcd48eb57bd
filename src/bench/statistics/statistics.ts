// Mean, spread and percentiles as numpy computes them by default.

/** Typed where there may be millions: the gaps of a long run. */
export type Numbers = readonly number[] | Float64Array;

export function sum(values: Numbers): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** 0 for no values. */
export function mean(values: Numbers): number {
  return values.length === 0 ? 0 : sum(values) / values.length;
}

/** Population standard deviation (ddof 0); 0 for no values. */
export function standardDeviation(values: Numbers): number {
  const middle = mean(values);
  let total = 0;
  for (const value of values) total += (value - middle) ** 2;
  return values.length === 0 ? 0 : Math.sqrt(total / values.length);
}

/** The numbers of all parts, one part after the other. */
export function concatenate(parts: readonly Numbers[]): Float64Array {
  const all = new Float64Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Percentiles of one sample, sorted once. */
export class Sample {
  readonly values: Numbers;
  readonly #sorted: Float64Array;

  constructor(values: Numbers) {
    this.values = values;
    this.#sorted = new Float64Array(values).sort();
  }

  get mean(): number {
    return mean(this.values);
  }

  get standardDeviation(): number {
    return standardDeviation(this.values);
  }

  /** 0 for no values. */
  get max(): number {
    return this.#sorted.at(-1) ?? 0;
  }

  /** With linear interpolation between neighbours; `percent` from 0 to 100; 0 for no values. */
  percentile(percent: number): number {
    const last = this.#sorted.length - 1;
    if (last < 0) return 0;
    const rank = (percent / 100) * last;
    const below = this.#sorted[Math.floor(rank)]!;
    const above = this.#sorted[Math.ceil(rank)]!;
    return below + (above - below) * (rank - Math.floor(rank));
  }

  get median(): number {
    return this.percentile(50);
  }
}

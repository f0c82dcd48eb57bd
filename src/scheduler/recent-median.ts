// The median of the last few numbers: single odd ones (the machine was busy elsewhere) do not move it.

export class RecentMedian {
  readonly #recent: number[] = [];
  #next = 0;
  #median: number | undefined;

  /** Of the last `count` numbers. */
  constructor(private readonly count: number) {}

  /** Of an even count the upper of the middle two; undefined before the first number. */
  get value(): number | undefined {
    return this.#median;
  }

  add(value: number): void {
    this.#recent[this.#next] = value;
    this.#next = (this.#next + 1) % this.count;
    const sorted = [...this.#recent].sort((a, b) => a - b);
    this.#median = sorted[sorted.length >> 1];
  }
}

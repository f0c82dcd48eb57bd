// Counts why rows of a dataset file were left out.

export class RowCounter {
  readonly #counts = new Map<string, number>();

  skip(reason: string): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
  }

  /** Reason → rows, most frequent first. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].sort((a, b) => b[1] - a[1]));
  }
}

// A queue between a producer that never waits and one consumer that iterates.

/** Values pushed before or during iteration come out in order; iteration ends after `end` when all are taken. */
export class AsyncQueue<T> implements AsyncIterable<T> {
  #values: T[] = [];
  #head = 0;
  #ended = false;
  #wake: (() => void) | null = null;

  push(value: T): void {
    if (this.#ended) return;
    this.#values.push(value);
    this.#signal();
  }

  /** No more values; the ones in the queue can still be taken. */
  end(): void {
    this.#ended = true;
    this.#signal();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.#head < this.#values.length) {
        const value = this.#values[this.#head]!;
        this.#head += 1;
        if (this.#head === this.#values.length) {
          this.#values = [];
          this.#head = 0;
        }
        yield value;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

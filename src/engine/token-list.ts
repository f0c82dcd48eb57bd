// The token ids of one sequence, as a growing typed array: compared and copied at memory speed.

export class TokenList {
  #ids: Int32Array;
  #length: number;

  constructor(ids: ArrayLike<number>, room: number) {
    this.#ids = new Int32Array(ids.length + room);
    this.#ids.set(ids);
    this.#length = ids.length;
  }

  get length(): number {
    return this.#length;
  }

  at(index: number): number {
    return this.#ids[index]!;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) {
      const longer = new Int32Array(2 * this.#length);
      longer.set(this.#ids);
      this.#ids = longer;
    }
    this.#ids[this.#length] = id;
    this.#length += 1;
  }

  /** A view of ids [from, to), right until the next push. */
  view(from = 0, to = this.#length): Int32Array {
    return this.#ids.subarray(from, to);
  }
}

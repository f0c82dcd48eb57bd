// A growing list of 32-bit words: the scratch space of one ForwardBatch section. It never shrinks.

const FIRST_CAPACITY = 64;
/** Shorter copies are faster as a loop than as a call. */
const SHORT_COPY = 32;

export class WordList {
  /** Valid up to `length`; replaced by a longer array as the list grows. */
  ints = new Int32Array(FIRST_CAPACITY);
  /** The same words. */
  floats = new Float32Array(this.ints.buffer);
  length = 0;

  /** Appends `count` words without a value; returns the index of the first. */
  extend(count: number): number {
    const start = this.length;
    this.length += count;
    if (this.length > this.ints.length) this.#grow();
    return start;
  }

  pushInt(value: number): void {
    if (this.length === this.ints.length) this.#grow();
    this.ints[this.length++] = value;
  }

  pushFloat(value: number): void {
    if (this.length === this.ints.length) this.#grow();
    this.floats[this.length++] = value;
  }

  pushInts(values: ArrayLike<number>, count: number): void {
    const start = this.extend(count);
    if (count > SHORT_COPY && values instanceof Int32Array) {
      this.ints.set(values.length === count ? values : values.subarray(0, count), start);
    } else {
      const { ints } = this;
      for (let i = 0; i < count; i++) ints[start + i] = values[i]!;
    }
  }

  pushFloats(values: ArrayLike<number>): void {
    const start = this.extend(values.length);
    for (let i = 0; i < values.length; i++) this.floats[start + i] = values[i]!;
  }

  /** A view of the words in use. */
  words(): Int32Array {
    return this.ints.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  #grow(): void {
    let capacity = this.ints.length;
    while (capacity < this.length + 1) capacity *= 2;
    const longer = new Int32Array(capacity);
    longer.set(this.ints);
    this.ints = longer;
    this.floats = new Float32Array(longer.buffer);
  }
}

// Buffers of steps that are done, kept for later steps. Sizes are rounded up so that steps of similar size share them.

/** Free buffers kept of one size: a scheduler has at most two steps in flight. */
const KEPT_PER_SIZE = 4;
/** Larger buffers (those of long prefill steps with many log-probability rows) are left to the garbage collector. */
const KEPT_BYTES = 1 << 22;

export class BufferPool {
  readonly #free = new Map<number, ArrayBuffer[]>();

  /** A buffer of at least `words` 32-bit words. Its contents are those of an earlier step. */
  take(words: number): ArrayBuffer {
    const bytes = roundUp(4 * words);
    return this.#free.get(bytes)?.pop() ?? new ArrayBuffer(bytes);
  }

  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength > KEPT_BYTES || buffer.byteLength !== roundUp(buffer.byteLength)) return;
    const free = this.#free.get(buffer.byteLength);
    if (free === undefined) this.#free.set(buffer.byteLength, [buffer]);
    else if (free.length < KEPT_PER_SIZE) free.push(buffer);
  }
}

/** The next of the sizes, four between two powers of two; at most a quarter is wasted. */
function roundUp(bytes: number): number {
  const step = Math.max(256, 2 ** (Math.ceil(Math.log2(bytes)) - 3));
  return Math.ceil(bytes / step) * step;
}

// The KV blocks of one sequence, in order. Block ids only; positions [i * blockSize, (i + 1) * blockSize) are in ids[i].
import type { CacheNode } from './prefix-cache.js';

const FIRST_CAPACITY = 8;

export class BlockTable {
  /** Valid up to `length`; replaced by a longer array as the table grows. */
  ids = new Int32Array(FIRST_CAPACITY);
  length = 0;
  /** The first `shared` blocks belong to the prefix cache and are locked there; the others belong to this table. */
  shared = 0;
  /** The place in the prefix cache that spells the shared blocks; null before the first lock. */
  node: CacheNode | null = null;
  #view: Int32Array | null = null;

  /** The blocks in use, in order: a view, made again only when the table has grown. */
  get blocks(): Int32Array {
    this.#view ??= this.ids.subarray(0, this.length);
    return this.#view;
  }

  push(block: number): void {
    if (this.length === this.ids.length) {
      const longer = new Int32Array(2 * this.length);
      longer.set(this.ids);
      this.ids = longer;
    }
    this.ids[this.length] = block;
    this.length += 1;
    this.#view = null;
  }

  /** Forgets every block; who owned them has taken them back. */
  clear(): void {
    this.length = 0;
    this.#view = null;
    this.shared = 0;
    this.node = null;
  }
}

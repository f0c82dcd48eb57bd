// Which blocks of the paged KV cache are free. Block ids only; the bytes live in native memory.
import { invariant } from '../util/errors.js';

export class BlockAllocator {
  readonly total: number;
  /** Stack of free ids; the top is at freeCount - 1. */
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(numBlocks: number) {
    this.total = numBlocks;
    this.#free = new Int32Array(numBlocks);
    for (let i = 0; i < numBlocks; i++) this.#free[i] = numBlocks - 1 - i; // block 0 is handed out first
    this.#freeCount = numBlocks;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** A free block. The caller has checked `freeCount`. */
  allocate(): number {
    invariant(this.#freeCount > 0, 'allocate() with no free block');
    this.#freeCount -= 1;
    return this.#free[this.#freeCount]!;
  }

  release(block: number): void {
    invariant(this.#freeCount < this.total, 'a block was released twice');
    this.#free[this.#freeCount] = block;
    this.#freeCount += 1;
  }

  /** Free ids, for the integrity check. */
  freeBlocks(): Int32Array {
    return this.#free.subarray(0, this.#freeCount);
  }
}

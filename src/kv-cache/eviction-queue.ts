// Leaves that may be evicted, least recently used first: a binary heap by the tick of their last use. Entries are never
// searched for; one whose node was used again, locked, extended or removed is skipped when it comes up.
import type { RadixNode } from './radix-node.js';

const isEvictable = (node: RadixNode): boolean => node.locks === 0 && node.isLeaf && node.parent !== null;

export class EvictionQueue {
  readonly #nodes: RadixNode[] = [];
  /** lastUse of each entry when it was pushed. */
  readonly #ticks: number[] = [];
  #staleAllowed = 64;

  /** A node that has become an unlocked leaf, or is one still after a use. */
  push(node: RadixNode): void {
    if (this.#nodes.length >= this.#staleAllowed) this.#dropStale();
    this.#nodes.push(node);
    this.#ticks.push(node.lastUse);
    this.#siftUp(this.#nodes.length - 1);
  }

  /** Takes out the evictable leaf that was used least recently. */
  pop(): RadixNode | undefined {
    while (this.#nodes.length > 0) {
      const node = this.#nodes[0]!;
      const valid = this.#isValid(0);
      this.#removeFirst();
      if (valid) return node;
    }
    return undefined;
  }

  #isValid(at: number): boolean {
    const node = this.#nodes[at]!;
    return node.lastUse === this.#ticks[at] && isEvictable(node);
  }

  #removeFirst(): void {
    const node = this.#nodes.pop()!;
    const tick = this.#ticks.pop()!;
    if (this.#nodes.length === 0) return;
    this.#nodes[0] = node;
    this.#ticks[0] = tick;
    this.#siftDown(0);
  }

  /** Stale entries may not outnumber valid ones for long: the queue would grow with every use of the cache. */
  #dropStale(): void {
    let kept = 0;
    for (let i = 0; i < this.#nodes.length; i++) {
      if (!this.#isValid(i)) continue;
      this.#nodes[kept] = this.#nodes[i]!;
      this.#ticks[kept] = this.#ticks[i]!;
      kept += 1;
    }
    this.#nodes.length = kept;
    this.#ticks.length = kept;
    for (let i = (kept >> 1) - 1; i >= 0; i--) this.#siftDown(i);
    this.#staleAllowed = Math.max(64, 2 * kept);
  }

  #siftUp(from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#ticks[parent]! <= this.#ticks[at]!) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #siftDown(from: number): void {
    let at = from;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#ticks.length && this.#ticks[child]! < this.#ticks[least]!) least = child;
      }
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const node = this.#nodes[a]!;
    const tick = this.#ticks[a]!;
    this.#nodes[a] = this.#nodes[b]!;
    this.#ticks[a] = this.#ticks[b]!;
    this.#nodes[b] = node;
    this.#ticks[b] = tick;
  }
}

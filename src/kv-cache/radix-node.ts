// A node of the radix tree: an edge of whole blocks from its parent, and the children that follow it. Children are
// found by a hash of their first block; the tokens themselves decide.
import type { CacheNode } from './prefix-cache.js';

/** Hash of the `size` token ids at `offset`, as a small integer (FNV-1a over words). */
export function hashBlock(tokens: Int32Array, offset: number, size: number): number {
  let hash = 0x811c9dc5;
  for (let i = offset; i < offset + size; i++) hash = Math.imul(hash ^ tokens[i]!, 0x01000193);
  return (hash ^ (hash >>> 15)) & 0x3fffffff;
}

export class RadixNode implements CacheNode {
  parent: RadixNode | null;
  /** Tokens of the edge: blocks.length * blockSize of them. */
  tokens: Int32Array;
  blocks: Int32Array;
  locks = 0;
  /** Tick of the cache's clock at the last lock or unlock. */
  lastUse = 0;
  readonly #children = new Map<number, RadixNode>();
  #childCount = 0;
  /** The next sibling whose first block has the same hash. */
  #sameHash: RadixNode | null = null;

  constructor(parent: RadixNode | null, tokens: Int32Array, blocks: Int32Array) {
    this.parent = parent;
    this.tokens = tokens;
    this.blocks = blocks;
  }

  get isLeaf(): boolean {
    return this.#childCount === 0;
  }

  /** The child whose edge starts with the block of `tokens` at `offset`. */
  child(tokens: Int32Array, offset: number, blockSize: number): RadixNode | null {
    let node = this.#children.get(hashBlock(tokens, offset, blockSize)) ?? null;
    while (node !== null && !node.#startsWith(tokens, offset, blockSize)) node = node.#sameHash;
    return node;
  }

  addChild(child: RadixNode, blockSize: number): void {
    const hash = hashBlock(child.tokens, 0, blockSize);
    child.parent = this;
    child.#sameHash = this.#children.get(hash) ?? null;
    this.#children.set(hash, child);
    this.#childCount += 1;
  }

  removeChild(child: RadixNode, blockSize: number): void {
    const hash = hashBlock(child.tokens, 0, blockSize);
    const first = this.#children.get(hash)!;
    if (first === child) {
      if (child.#sameHash === null) this.#children.delete(hash);
      else this.#children.set(hash, child.#sameHash);
    } else {
      let before = first;
      while (before.#sameHash !== child) before = before.#sameHash!;
      before.#sameHash = child.#sameHash;
    }
    child.#sameHash = null;
    child.parent = null;
    this.#childCount -= 1;
  }

  /** Blocks at the start of the edge that equal `tokens` from `offset` on, at most `most`. */
  commonBlocks(tokens: Int32Array, offset: number, most: number, blockSize: number): number {
    const edge = this.tokens;
    const count = Math.min(this.blocks.length, most) * blockSize;
    let i = 0;
    while (i < count && edge[i] === tokens[offset + i]) i++;
    return Math.floor(i / blockSize);
  }

  /** This node and all below it. */
  *subtree(): Iterable<RadixNode> {
    const stack: RadixNode[] = [this];
    while (stack.length > 0) {
      const node = stack.pop()!;
      yield node;
      for (let child of node.#children.values()) {
        for (;;) {
          stack.push(child);
          if (child.#sameHash === null) break;
          child = child.#sameHash;
        }
      }
    }
  }

  #startsWith(tokens: Int32Array, offset: number, count: number): boolean {
    for (let i = 0; i < count; i++) if (this.tokens[i] !== tokens[offset + i]) return false;
    return true;
  }
}

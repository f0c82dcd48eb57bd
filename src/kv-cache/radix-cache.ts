// A radix tree over whole blocks of token ids (RadixAttention, arXiv 2312.07104). Edges hold one or more blocks; siblings
// differ in their first block. Locks count the tables at or below a node; what no lock holds is evicted in LRU order,
// block by block from the ends of the leaves.
import { invariant } from '../util/errors.js';
import type { BlockAllocator } from './block-allocator.js';
import type { BlockTable } from './block-table.js';
import { EvictionQueue } from './eviction-queue.js';
import type { PrefixCache } from './prefix-cache.js';
import { RadixNode } from './radix-node.js';

export class RadixCache implements PrefixCache {
  readonly #root = new RadixNode(null, new Int32Array(0), new Int32Array(0));
  readonly #queue = new EvictionQueue();
  #cached = 0;
  #evictable = 0;
  #clock = 0;

  constructor(
    private readonly allocator: BlockAllocator,
    private readonly blockSize: number,
  ) {}

  get cachedBlocks(): number {
    return this.#cached;
  }

  get evictableBlocks(): number {
    return this.#evictable;
  }

  match(tokens: Int32Array, limit: number): number {
    const most = this.#wholeBlocks(limit);
    let node = this.#root;
    let found = 0;
    while (found < most) {
      const child = node.child(tokens, found * this.blockSize, this.blockSize);
      if (child === null) break;
      const common = child.commonBlocks(tokens, found * this.blockSize, most - found, this.blockSize);
      found += common;
      if (common < child.blocks.length) break;
      node = child;
    }
    return found;
  }

  lock(table: BlockTable, tokens: Int32Array, limit: number): void {
    invariant(table.length === 0 && table.node === null, 'lock() of a table that is in use');
    const most = this.#wholeBlocks(limit);
    let node = this.#root;
    while (table.length < most) {
      const child = this.#step(node, tokens, table.length, most);
      if (child === null) break;
      for (const block of child.blocks) table.push(block);
      node = child;
    }
    table.shared = table.length;
    table.node = node;
    this.#clock += 1;
    for (let n: RadixNode | null = node; n !== null; n = n.parent) this.#lockNode(n);
  }

  insert(table: BlockTable, tokens: Int32Array, count: number, replaced: (block: number) => void): void {
    invariant(table.node !== null && count <= table.length, 'insert() of a table that is not locked or too short');
    this.#clock += 1;
    let node = table.node as RadixNode;
    let at = table.shared;
    while (at < count) {
      const child = this.#step(node, tokens, at, count);
      if (child === null) {
        node = this.#append(
          node,
          tokens.slice(at * this.blockSize, count * this.blockSize),
          table.ids.slice(at, count),
        );
        at = count;
        break;
      }
      for (let i = 0; i < child.blocks.length; i++) {
        const own = table.ids[at + i]!;
        if (own !== child.blocks[i]) {
          replaced(own);
          table.ids[at + i] = child.blocks[i]!;
        }
      }
      at += child.blocks.length;
      this.#lockNode(child); // its ancestors are locked by this table already
      node = child;
    }
    table.shared = at;
    table.node = node;
  }

  unlock(table: BlockTable): void {
    this.#clock += 1;
    for (let n = table.node as RadixNode | null; n !== null; n = n.parent) {
      invariant(n.locks > 0, 'unlock() of a node that is not locked');
      n.locks -= 1;
      n.lastUse = this.#clock;
      if (n.locks > 0) continue;
      this.#evictable += n.blocks.length;
      if (n.isLeaf && n !== this.#root) this.#queue.push(n);
    }
    table.node = null;
  }

  evict(count: number): number {
    let freed = 0;
    while (freed < count) {
      const leaf = this.#queue.pop();
      if (leaf === undefined) break;
      const kept = Math.max(0, leaf.blocks.length - (count - freed));
      for (let i = kept; i < leaf.blocks.length; i++) this.allocator.release(leaf.blocks[i]!);
      freed += leaf.blocks.length - kept;
      if (kept > 0) {
        leaf.blocks = leaf.blocks.subarray(0, kept);
        leaf.tokens = leaf.tokens.subarray(0, kept * this.blockSize);
        this.#queue.push(leaf);
      } else {
        const parent = leaf.parent!;
        parent.removeChild(leaf, this.blockSize);
        if (parent.isLeaf && parent.locks === 0 && parent !== this.#root) this.#queue.push(parent);
      }
    }
    this.#cached -= freed;
    this.#evictable -= freed;
    return freed;
  }

  clear(): void {
    this.evict(this.#evictable);
  }

  *blocks(): Iterable<number> {
    for (const node of this.#root.subtree()) yield* node.blocks;
  }

  checkIntegrity(tables: Iterable<BlockTable>): void {
    const locks = new Map<RadixNode, number>();
    for (const { node } of tables) {
      for (let n = node as RadixNode | null; n !== null; n = n.parent) locks.set(n, (locks.get(n) ?? 0) + 1);
    }
    let cached = 0;
    let evictable = 0;
    for (const node of this.#root.subtree()) {
      const wanted = locks.get(node) ?? 0;
      invariant(node.locks === wanted, `a node of the radix cache has ${node.locks} locks, ${wanted} tables hold it`);
      cached += node.blocks.length;
      if (node.locks === 0) evictable += node.blocks.length;
    }
    invariant(cached === this.#cached, `the radix cache holds ${cached} blocks and counts ${this.#cached}`);
    invariant(evictable === this.#evictable, `${evictable} blocks are evictable, ${this.#evictable} counted`);
  }

  #wholeBlocks(tokens: number): number {
    return Math.floor(tokens / this.blockSize);
  }

  /** The child of `node` that matches from block `at` on, its edge cut where it ceases to match before `most`. */
  #step(node: RadixNode, tokens: Int32Array, at: number, most: number): RadixNode | null {
    const child = node.child(tokens, at * this.blockSize, this.blockSize);
    if (child === null) return null;
    const common = child.commonBlocks(tokens, at * this.blockSize, most - at, this.blockSize);
    return common < child.blocks.length ? this.#split(child, common) : child;
  }

  /** Adds new blocks below a node that the inserting table has locked; returns the node that ends with them, locked. */
  #append(node: RadixNode, tokens: Int32Array, blocks: Int32Array): RadixNode {
    this.#cached += blocks.length;
    if (node !== this.#root && node.isLeaf && node.locks === 1) {
      // Only this table is here: the edge grows instead of becoming a chain of one node per prefill chunk.
      node.tokens = concat(node.tokens, tokens);
      node.blocks = concat(node.blocks, blocks);
      return node;
    }
    const leaf = new RadixNode(node, tokens, blocks);
    node.addChild(leaf, this.blockSize);
    leaf.locks = 1;
    leaf.lastUse = this.#clock;
    return leaf;
  }

  /** Cuts the edge of `node` after `count` blocks; returns the new upper half. `node` itself stays the lower end. */
  #split(node: RadixNode, count: number): RadixNode {
    const parent = node.parent!;
    const cut = count * this.blockSize;
    parent.removeChild(node, this.blockSize);
    const upper = new RadixNode(parent, node.tokens.slice(0, cut), node.blocks.slice(0, count));
    upper.locks = node.locks;
    upper.lastUse = node.lastUse;
    parent.addChild(upper, this.blockSize);
    node.tokens = node.tokens.slice(cut);
    node.blocks = node.blocks.slice(count);
    upper.addChild(node, this.blockSize);
    return upper;
  }

  #lockNode(node: RadixNode): void {
    if (node.locks === 0) this.#evictable -= node.blocks.length;
    node.locks += 1;
    node.lastUse = this.#clock;
  }
}

function concat(a: Int32Array, b: Int32Array): Int32Array {
  const joined = new Int32Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

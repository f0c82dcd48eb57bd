// A radix tree over whole blocks of token ids (SGLang's RadixAttention, arXiv 2312.07104). Edges hold one or more blocks;
// siblings differ in their first block. Locks count the requests below a node; unlocked leaves are evicted in LRU order.
import { invariant } from '../util/errors.js';
import type { BlockAllocator } from './block-allocator.js';
import type { CacheNode, PrefixCache, PrefixMatch } from './prefix-cache.js';

class RadixNode implements CacheNode {
  readonly children = new Map<string, RadixNode>();
  locks = 0;
  lastUse = 0;

  constructor(
    public parent: RadixNode | null,
    /** Tokens of the edge from the parent: blocks.length * blockSize of them. */
    public tokens: Int32Array,
    public blocks: number[],
  ) {}
}

export class RadixCache implements PrefixCache {
  readonly #root = new RadixNode(null, new Int32Array(0), []);
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

  match(tokens: ArrayLike<number>, limit: number): PrefixMatch {
    const blocks: number[] = [];
    const node = this.#descend(tokens, Math.floor(limit / this.blockSize), blocks);
    return { node, blocks };
  }

  insert(tokens: ArrayLike<number>, blocks: readonly number[]): PrefixMatch {
    const owned: number[] = [];
    let node = this.#descend(tokens, blocks.length, owned);
    if (owned.length < blocks.length) {
      const added = blocks.slice(owned.length);
      const edge = new Int32Array(added.length * this.blockSize);
      const offset = owned.length * this.blockSize;
      for (let i = 0; i < edge.length; i++) edge[i] = tokens[offset + i]!;
      const leaf = new RadixNode(node, edge, added);
      leaf.lastUse = this.#clock;
      node.children.set(this.#blockKey(edge, 0), leaf);
      this.#cached += added.length;
      this.#evictable += added.length;
      owned.push(...added);
      node = leaf;
    }
    return { node, blocks: owned };
  }

  lock(node: CacheNode): void {
    for (let n: RadixNode | null = node as RadixNode; n !== null; n = n.parent) {
      if (n.locks === 0) this.#evictable -= n.blocks.length;
      n.locks += 1;
    }
  }

  unlock(node: CacheNode): void {
    for (let n: RadixNode | null = node as RadixNode; n !== null; n = n.parent) {
      invariant(n.locks > 0, 'unlock() of a node that is not locked');
      n.locks -= 1;
      if (n.locks === 0) this.#evictable += n.blocks.length;
    }
  }

  evict(count: number): number {
    if (count <= 0 || this.#evictable === 0) return 0;
    const leaves = [...this.#nodes()].filter((n) => n !== this.#root && n.children.size === 0 && n.locks === 0);
    leaves.sort((a, b) => b.lastUse - a.lastUse);
    let freed = 0;
    while (freed < count && leaves.length > 0) {
      const leaf = leaves.pop()!;
      const parent = leaf.parent!;
      for (const block of leaf.blocks) this.allocator.release(block);
      freed += leaf.blocks.length;
      parent.children.delete(this.#blockKey(leaf.tokens, 0));
      if (parent !== this.#root && parent.children.size === 0 && parent.locks === 0) {
        let at = leaves.length;
        while (at > 0 && leaves[at - 1]!.lastUse < parent.lastUse) at -= 1;
        leaves.splice(at, 0, parent);
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
    for (const node of this.#nodes()) yield* node.blocks;
  }

  /** Follows whole blocks of `tokens`, splitting an edge that matches in part; appends the blocks found. */
  #descend(tokens: ArrayLike<number>, limit: number, found: number[]): RadixNode {
    this.#clock += 1;
    let node = this.#root;
    node.lastUse = this.#clock;
    while (found.length < limit) {
      const child = node.children.get(this.#blockKey(tokens, found.length * this.blockSize));
      if (child === undefined) break;
      const common = this.#commonBlocks(child, tokens, found.length, limit);
      const reached = common < child.blocks.length ? this.#split(child, common) : child;
      reached.lastUse = this.#clock;
      for (const block of reached.blocks) found.push(block);
      node = reached;
      if (reached !== child) break;
    }
    return node;
  }

  #commonBlocks(node: RadixNode, tokens: ArrayLike<number>, from: number, limit: number): number {
    const most = Math.min(node.blocks.length, limit - from) * this.blockSize;
    const edge = node.tokens;
    const offset = from * this.blockSize;
    let i = 0;
    while (i < most && edge[i] === tokens[offset + i]) i++;
    return Math.floor(i / this.blockSize);
  }

  /** Cuts the edge of `node` after `count` blocks; returns the new upper half. Locks hold for both halves. */
  #split(node: RadixNode, count: number): RadixNode {
    const cut = count * this.blockSize;
    const parent = node.parent!;
    const upper = new RadixNode(parent, node.tokens.slice(0, cut), node.blocks.slice(0, count));
    upper.locks = node.locks;
    upper.lastUse = node.lastUse;
    parent.children.set(this.#blockKey(upper.tokens, 0), upper);
    node.parent = upper;
    node.tokens = node.tokens.slice(cut);
    node.blocks = node.blocks.slice(count);
    upper.children.set(this.#blockKey(node.tokens, 0), node);
    return upper;
  }

  #blockKey(tokens: ArrayLike<number>, offset: number): string {
    let key = '';
    for (let i = 0; i < this.blockSize; i++) key += `${tokens[offset + i]},`;
    return key;
  }

  *#nodes(): Iterable<RadixNode> {
    const stack = [this.#root];
    while (stack.length > 0) {
      const node = stack.pop()!;
      yield node;
      stack.push(...node.children.values());
    }
  }
}

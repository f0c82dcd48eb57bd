// Blocks of running requests: taken from the allocator and the prefix cache, given back to them. Keeps the books:
// free + cached + held = total, always.
import { invariant } from '../util/errors.js';
import { BlockAllocator } from './block-allocator.js';
import { NoCache } from './no-cache.js';
import type { CacheNode, PrefixCache } from './prefix-cache.js';
import { RadixCache } from './radix-cache.js';

/** The blocks of one request, in sequence order. The first `shared` belong to the prefix cache and are locked. */
export interface BlockTable {
  blocks: number[];
  shared: number;
  node: CacheNode | null;
}

export class BlockManager {
  readonly #allocator: BlockAllocator;
  readonly #cache: PrefixCache;
  #held = 0;

  constructor(
    numBlocks: number,
    readonly blockSize: number,
    options: { readonly prefixCache: boolean },
  ) {
    this.#allocator = new BlockAllocator(numBlocks);
    this.#cache = options.prefixCache ? new RadixCache(this.#allocator, blockSize) : new NoCache();
  }

  get totalBlocks(): number {
    return this.#allocator.total;
  }

  /** Blocks that could be had now: free ones and unlocked cached ones. */
  get availableBlocks(): number {
    return this.#allocator.freeCount + this.#cache.evictableBlocks;
  }

  /** Blocks in use by running requests, shared ones included. */
  get usedBlocks(): number {
    return this.totalBlocks - this.availableBlocks;
  }

  get cachedBlocks(): number {
    return this.#cache.cachedBlocks;
  }

  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockSize);
  }

  /** Tokens of the longest cached prefix within the first `limit` tokens; takes nothing. */
  peek(tokens: ArrayLike<number>, limit: number): number {
    return this.#cache.match(tokens, limit).blocks.length * this.blockSize;
  }

  /** A table that starts with the longest cached prefix within the first `limit` tokens, locked. */
  open(tokens: ArrayLike<number>, limit: number): BlockTable {
    const { node, blocks } = this.#cache.match(tokens, limit);
    this.#cache.lock(node);
    return { blocks: [...blocks], shared: blocks.length, node };
  }

  /** Extends the table to `count` blocks, evicting cached ones if need be; false, and unchanged, if there are too few. */
  grow(table: BlockTable, count: number): boolean {
    const wanted = count - table.blocks.length;
    if (wanted <= 0) return true;
    if (wanted > this.#allocator.freeCount) this.#cache.evict(wanted - this.#allocator.freeCount);
    if (wanted > this.#allocator.freeCount) return false;
    this.#allocator.allocateInto(table.blocks, wanted);
    this.#held += wanted;
    return true;
  }

  /**
   * Shares the first `computed` tokens' whole blocks through the cache while the request goes on. Blocks that the cache
   * already has replace ours: steps run in order, so a step in flight has used the old ones before anyone reuses them.
   */
  share(table: BlockTable, tokens: ArrayLike<number>, computed: number): void {
    const whole = Math.floor(computed / this.blockSize);
    if (whole <= table.shared) return;
    const { node, blocks } = this.#cache.insert(tokens, table.blocks.slice(0, whole));
    if (blocks.length === 0) return;
    this.#cache.lock(node);
    if (table.node !== null) this.#cache.unlock(table.node);
    for (let i = table.shared; i < whole; i++) {
      if (table.blocks[i] !== blocks[i]) {
        this.#allocator.release(table.blocks[i]!);
        table.blocks[i] = blocks[i]!;
      }
    }
    this.#held -= whole - table.shared;
    table.shared = whole;
    table.node = node;
  }

  /** Gives back every block; the request is over, or starts again later. */
  close(table: BlockTable): void {
    for (let i = table.shared; i < table.blocks.length; i++) this.#allocator.release(table.blocks[i]!);
    this.#held -= table.blocks.length - table.shared;
    if (table.node !== null) this.#cache.unlock(table.node);
    table.blocks = [];
    table.shared = 0;
    table.node = null;
  }

  clearCache(): void {
    this.#cache.clear();
  }

  /** Throws when the books do not balance. `thorough` also checks that no block is owned twice. */
  checkIntegrity(thorough: boolean): void {
    const free = this.#allocator.freeCount;
    const cached = this.#cache.cachedBlocks;
    invariant(
      free + cached + this.#held === this.totalBlocks,
      `blocks free ${free} + cached ${cached} + held ${this.#held} != total ${this.totalBlocks}`,
    );
    if (!thorough) return;
    const seen = new Uint8Array(this.totalBlocks);
    for (const owned of [this.#allocator.freeBlocks(), this.#cache.blocks()]) {
      for (const block of owned) {
        invariant(seen[block] === 0, `block ${block} is owned twice`);
        seen[block] = 1;
      }
    }
  }
}

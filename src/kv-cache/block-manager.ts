// Blocks of running requests: taken from the allocator and the prefix cache, given back to them. Keeps the books:
// free + cached + held = total, always. "Held" blocks belong to one table, or wait for the next settle().
import { invariant } from '../util/errors.js';
import { BlockAllocator } from './block-allocator.js';
import { BlockTable } from './block-table.js';
import { NoCache } from './no-cache.js';
import type { PrefixCache } from './prefix-cache.js';
import { RadixCache } from './radix-cache.js';

export class BlockManager {
  readonly #allocator: BlockAllocator;
  readonly #cache: PrefixCache;
  readonly #tables = new Set<BlockTable>();
  /** Blocks that a step under construction writes although the cache has their tokens: free once it is submitted. */
  readonly #replaced: number[] = [];
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

  /** Blocks of nobody. */
  get freeBlocks(): number {
    return this.#allocator.freeCount;
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

  /** Tokens of the longest cached prefix within the first `limit` tokens; takes nothing, changes nothing. */
  match(tokens: Int32Array, limit: number): number {
    return this.#cache.match(tokens, limit) * this.blockSize;
  }

  /** A table that starts with the longest cached prefix within the first `limit` tokens, locked. */
  open(tokens: Int32Array, limit: number): BlockTable {
    const table = new BlockTable();
    this.#cache.lock(table, tokens, limit);
    this.#tables.add(table);
    return table;
  }

  /** Extends the table to `count` blocks, evicting cached ones if need be; false, and unchanged, if there are too few. */
  grow(table: BlockTable, count: number): boolean {
    const wanted = count - table.length;
    if (wanted <= 0) return true;
    const missing = wanted - this.#allocator.freeCount;
    if (missing > this.#cache.evictableBlocks) return false;
    if (missing > 0) this.#cache.evict(missing);
    for (let i = 0; i < wanted; i++) table.push(this.#allocator.allocate());
    this.#held += wanted;
    return true;
  }

  /**
   * Puts the whole blocks of the first `computed` tokens into the prefix cache, where other requests find them. They may
   * be computed by a step that is only being built: steps run in order, and a step stores K and V before it attends.
   */
  share(table: BlockTable, tokens: Int32Array, computed: number): void {
    const count = Math.floor(computed / this.blockSize);
    const before = table.shared;
    if (count <= before) return;
    const waiting = this.#replaced.length;
    this.#cache.insert(table, tokens, count, (block) => this.#replaced.push(block));
    this.#held -= table.shared - before - (this.#replaced.length - waiting);
  }

  /** Frees the blocks that `share` replaced. To be called when no step is under construction. */
  settle(): void {
    for (const block of this.#replaced) this.#allocator.release(block);
    this.#held -= this.#replaced.length;
    this.#replaced.length = 0;
  }

  /** Gives back every block; the request is over, or starts again later. */
  close(table: BlockTable): void {
    for (let i = table.shared; i < table.length; i++) this.#allocator.release(table.ids[i]!);
    this.#held -= table.length - table.shared;
    if (table.node !== null) this.#cache.unlock(table);
    table.clear();
    this.#tables.delete(table);
  }

  clearCache(): void {
    this.#cache.clear();
  }

  /** Throws when the books do not balance. `thorough` also looks at every block and every lock. */
  checkIntegrity(thorough: boolean): void {
    const free = this.#allocator.freeCount;
    const cached = this.#cache.cachedBlocks;
    invariant(
      free + cached + this.#held === this.totalBlocks,
      `blocks free ${free} + cached ${cached} + held ${this.#held} != total ${this.totalBlocks}`,
    );
    if (!thorough) return;
    this.#cache.checkIntegrity(this.#tables);
    const owners = new Uint8Array(this.totalBlocks);
    const count = (blocks: Iterable<number>) => {
      for (const block of blocks) owners[block]! += 1;
    };
    count(this.#allocator.freeBlocks());
    count(this.#cache.blocks());
    count(this.#replaced);
    for (const table of this.#tables) count(table.ids.subarray(table.shared, table.length));
    const wrong = owners.findIndex((n) => n !== 1);
    invariant(wrong < 0, `block ${wrong} has ${owners[wrong]} owners`);
  }

  /** Throws unless every block is free or cached: no request holds any. */
  checkIdle(): void {
    this.settle();
    invariant(this.#tables.size === 0, `${this.#tables.size} block tables are open although nothing runs`);
    invariant(this.#held === 0, `${this.#held} blocks are held although nothing runs`);
    this.checkIntegrity(false);
  }
}

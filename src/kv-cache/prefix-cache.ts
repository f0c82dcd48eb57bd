// The prefix cache as the scheduler sees it: whole KV blocks of earlier sequences, found by their tokens. A request
// locks a prefix when it starts, inserts what it computes, and unlocks when it ends; what no lock holds can be evicted.
import type { BlockTable } from './block-table.js';

/** A place in the cache: the blocks on the path from the root to it spell a prefix. Opaque to callers. */
export interface CacheNode {
  /** Tables that hold the path to this node. */
  readonly locks: number;
}

export interface PrefixCache {
  /** Blocks that the cache owns. */
  readonly cachedBlocks: number;
  /** Owned blocks that no lock protects: what `evict` could free. */
  readonly evictableBlocks: number;
  /** Blocks of the longest cached prefix of the first `limit` tokens. Changes nothing, not even what was used last. */
  match(tokens: Int32Array, limit: number): number;
  /** Puts the longest cached prefix of the first `limit` tokens into the empty table and keeps it from eviction. */
  lock(table: BlockTable, tokens: Int32Array, limit: number): void;
  /**
   * Makes the table's first `count` blocks, which hold the K and V of tokens[0 … count * blockSize), part of the cache,
   * locked. Where the cache has the same tokens already, its block replaces the table's, which goes to `replaced`.
   */
  insert(table: BlockTable, tokens: Int32Array, count: number, replaced: (block: number) => void): void;
  /** Lets go of what the table has locked. The caller clears or drops the table. */
  unlock(table: BlockTable): void;
  /** Frees `count` blocks, least recently used first, or as many as are evictable; returns how many. */
  evict(count: number): number;
  /** Drops everything that is not locked. */
  clear(): void;
  /** Every block the cache owns, for the integrity check. */
  blocks(): Iterable<number>;
  /** Throws when the cache's own books are wrong. `tables`: every table that holds a lock. */
  checkIntegrity(tables: Iterable<BlockTable>): void;
}

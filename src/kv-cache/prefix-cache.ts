// The prefix cache as the scheduler sees it: whole KV blocks of earlier sequences, found by their tokens.

/** A place in the cache: the blocks on the path from the root to it spell a prefix. Opaque to callers. */
export interface CacheNode {
  /** Requests that hold the path to this node. */
  readonly locks: number;
}

export interface PrefixMatch {
  readonly node: CacheNode;
  /** Blocks of the matched prefix, in order; owned by the cache. */
  readonly blocks: readonly number[];
}

export interface PrefixCache {
  /** Blocks that the cache owns. */
  readonly cachedBlocks: number;
  /** Owned blocks that no lock protects: what `evict` could free. */
  readonly evictableBlocks: number;
  /** Longest cached prefix of tokens[0 … limit) in whole blocks. The result is stable only once locked. */
  match(tokens: ArrayLike<number>, limit: number): PrefixMatch;
  /** Keeps the path to `node` from eviction until `unlock`. */
  lock(node: CacheNode): void;
  unlock(node: CacheNode): void;
  /**
   * Offers blocks[i] as the KV of tokens[i * blockSize … (i + 1) * blockSize). The cache takes the ones it lacks; those
   * it already has keep their own block, and the caller must go on with (or release) its duplicates.
   * Returns the match of the whole sequence.
   */
  insert(tokens: ArrayLike<number>, blocks: readonly number[]): PrefixMatch;
  /** Frees at least `count` blocks, least recently used first, if so many are evictable; returns how many. */
  evict(count: number): number;
  /** Drops everything that is not locked. */
  clear(): void;
  /** Every block the cache owns, for the integrity check. */
  blocks(): Iterable<number>;
}

// --disable-radix-cache: nothing is kept, nothing is found.
import type { CacheNode, PrefixCache, PrefixMatch } from './prefix-cache.js';

const ROOT: CacheNode = { locks: 0 };
const NOTHING: PrefixMatch = { node: ROOT, blocks: [] };

export class NoCache implements PrefixCache {
  readonly cachedBlocks = 0;
  readonly evictableBlocks = 0;

  match(): PrefixMatch {
    return NOTHING;
  }

  insert(): PrefixMatch {
    return NOTHING;
  }

  lock(): void {}

  unlock(): void {}

  evict(): number {
    return 0;
  }

  clear(): void {}

  blocks(): Iterable<number> {
    return [];
  }
}

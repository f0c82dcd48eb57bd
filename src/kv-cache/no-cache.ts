// --disable-radix-cache: nothing is kept, nothing is found.
import type { PrefixCache } from './prefix-cache.js';

export class NoCache implements PrefixCache {
  readonly cachedBlocks = 0;
  readonly evictableBlocks = 0;

  match(): number {
    return 0;
  }

  lock(): void {}

  insert(): void {}

  unlock(): void {}

  evict(): number {
    return 0;
  }

  clear(): void {}

  blocks(): Iterable<number> {
    return [];
  }

  checkIntegrity(): void {}
}

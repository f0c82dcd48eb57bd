// In which order waiting requests are started.
import type { Request } from '../engine/request.js';
import type { BlockManager } from '../kv-cache/block-manager.js';

export interface SchedulePolicy {
  /** The waiting requests (given in order of arrival, retracted ones in front) in the order to start them. */
  order(waiting: readonly Request[]): readonly Request[];
}

/** First come, first served. */
export class FcfsPolicy implements SchedulePolicy {
  order(waiting: readonly Request[]): readonly Request[] {
    return waiting;
  }
}

/** Of a longer queue, only so many requests at its head are matched with the cache. */
const MOST_MATCHED = 256;
/** A request that was passed over this often goes before all others, so that no one waits for ever. */
const MOST_PASSES = 64;

/** Longest prefix match first: requests that share a cached prefix run while it is cached. */
export class LpmPolicy implements SchedulePolicy {
  constructor(private readonly blocks: BlockManager) {}

  order(waiting: readonly Request[]): readonly Request[] {
    if (waiting.length < 2) return waiting;
    return waiting
      .slice(0, MOST_MATCHED)
      .map((request) => ({ request, rank: this.#rank(request) }))
      .sort((a, b) => (a.rank === b.rank ? 0 : b.rank - a.rank)) // stable: equal ranks keep their order of arrival
      .map(({ request }) => request);
  }

  #rank(request: Request): number {
    if (request.retractions > 0 || request.passedOver >= MOST_PASSES) return Number.POSITIVE_INFINITY;
    return this.blocks.match(request.tokens.view(), request.matchLimit);
  }
}

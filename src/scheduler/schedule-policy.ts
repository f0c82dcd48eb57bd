// In which order waiting requests are admitted.
import type { Request } from '../engine/request.js';
import type { BlockManager } from '../kv-cache/block-manager.js';

/** Requests that were passed over this often go first, so that no one waits for ever. */
const MOST_PASSES = 64;

export interface SchedulePolicy {
  /** Sorts the waiting requests in place; retracted ones always stay in front. */
  order(waiting: Request[]): void;
}

/** First come, first served: the queue's own order. */
export class FcfsPolicy implements SchedulePolicy {
  order(): void {}
}

/** Longest prefix match first: requests that share a cached prefix run while it is cached. */
export class LpmPolicy implements SchedulePolicy {
  readonly #passes = new WeakMap<Request, number>();

  constructor(private readonly blocks: BlockManager) {}

  order(waiting: Request[]): void {
    if (waiting.length < 2) return;
    const rank = new Map<Request, number>();
    for (const request of waiting) {
      const passes = (this.#passes.get(request) ?? 0) + 1;
      this.#passes.set(request, passes);
      const first = request.retractions > 0 || passes > MOST_PASSES;
      rank.set(request, first ? Number.POSITIVE_INFINITY : this.blocks.peek(request.tokens, request.matchLimit));
    }
    waiting.sort((a, b) => {
      const [left, right] = [rank.get(a)!, rank.get(b)!];
      return left === right ? 0 : right - left; // stable: equal ranks keep their order of arrival
    });
  }
}

// Adds prompt tokens to a step, within its token budget: first of requests that have begun, then of waiting ones for
// which there are a slot, the blocks of the whole prompt, and room for what the running ones will still generate.
import type { DeviceOptions } from '../engine/device-options.js';
import type { Request } from '../engine/request.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import { monotonicSeconds } from '../util/clock.js';
import type { LoadStats } from './load-stats.js';
import type { NewTokenRatio } from './new-token-ratio.js';
import type { PrefillBudget } from './prefill-budget.js';
import type { RequestQueues } from './request-queues.js';
import type { SchedulePolicy } from './schedule-policy.js';
import type { StepBuilder } from './step-builder.js';

export interface PrefillAdderDeps {
  readonly options: Pick<DeviceOptions, 'chunkedPrefillSize' | 'maxPrefillTokens'>;
  readonly queues: RequestQueues;
  readonly blocks: BlockManager;
  readonly policy: SchedulePolicy;
  readonly step: StepBuilder;
  readonly ratio: NewTokenRatio;
  readonly budget: PrefillBudget;
  readonly stats: LoadStats;
}

export class PrefillAdder {
  readonly #chunked: boolean;
  /** Blocks that the running requests are expected to need beyond those they have. */
  #reserved = 0;

  constructor(private readonly deps: PrefillAdderDeps) {
    this.#chunked = deps.options.chunkedPrefillSize > 0;
  }

  addAll(): void {
    const { options, queues, blocks, policy, step } = this.deps;
    let budget = this.#chunked ? this.deps.budget.tokens(step.batch.decodeRows) : options.maxPrefillTokens;
    for (const request of queues.running) {
      if (budget <= 0) return;
      if (request.prefillLeft > 0) budget -= this.#addChunk(request, budget);
    }
    if (budget <= 0 || queues.waiting.length === 0 || !queues.hasFreeSlot) return;
    this.#reserved = 0;
    for (const request of queues.running) this.#reserved += this.#growth(request, request.table.length);
    if (queues.running.length > 0 && blocks.availableBlocks <= this.#reserved) return; // spares the work of ordering
    for (const request of [...policy.order(queues.waiting)]) {
      if (budget <= 0 || !queues.hasFreeSlot || !this.#start(request, budget)) return;
      budget -= this.#addChunk(request, budget);
    }
  }

  #addChunk(request: Request, budget: number): number {
    const left = request.seqLen - request.computedLen; // one token, if all others were found in the cache
    const count = this.#chunked ? Math.min(left, budget) : left;
    this.deps.step.addPrefill(request, count);
    return count;
  }

  /** Gives a waiting request a slot and blocks, if it can have them now. */
  #start(request: Request, budget: number): boolean {
    const { blocks, queues, step, stats } = this.deps;
    const tokens = request.tokens.view();
    const table = blocks.open(tokens, request.matchLimit);
    const cachedLen = table.length * blocks.blockSize;
    const wanted = blocks.blocksFor(tokens.length);
    const growth = this.#growth(request, wanted);
    const tooLong = !this.#chunked && tokens.length - cachedLen > budget && step.batch.prefillTokens > 0;
    // Alone it may always run: what can never fit was refused on arrival.
    const hasRoom =
      queues.running.length === 0 || blocks.availableBlocks >= wanted - table.length + growth + this.#reserved;
    if (tooLong || !hasRoom || !blocks.grow(table, wanted)) {
      blocks.close(table);
      return false;
    }
    this.#reserved += growth;
    queues.start(request, table, cachedLen);
    step.batch.newRequests += 1;
    step.batch.cachedTokens += cachedLen;
    if (request.scheduledAt === 0) {
      request.scheduledAt = monotonicSeconds();
      request.reportedCached = cachedLen;
      stats.cachedTokens += cachedLen;
      stats.promptTokens += request.promptLen;
    }
    return true;
  }

  /** Blocks that the request is expected to need beyond the `owned` ones it has. */
  #growth(request: Request, owned: number): number {
    const { blocks, ratio } = this.deps;
    return Math.max(0, blocks.blocksFor(request.seqLen + ratio.reserve(request.newTokensLeft)) - owned);
  }
}

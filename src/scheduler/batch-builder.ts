// Decides what the next step computes: decode rows of running requests, then prefill chunks, within tokens, slots and blocks.
import type { SchedulerOptions } from '../config/scheduler-options.js';
import type { ForwardBatch, ForwardRequest } from '../engine/forward-batch.js';
import { REQUEST_FLAG } from '../engine/forward-batch-layout.js';
import type { RunnerLimits } from '../engine/model-runner.js';
import type { Request } from '../engine/request.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import { monotonicSeconds } from '../util/clock.js';
import type { LoadStats } from './load-stats.js';
import type { RequestQueues } from './request-queues.js';
import type { SchedulePolicy } from './schedule-policy.js';

/** One request's share of a submitted step, to make sense of its output. */
export interface StepPart {
  readonly request: Request;
  /** The request's epoch at submission; if it has changed, the result is void. */
  readonly epoch: number;
  /** Tokens of the sequence that are computed after this step. */
  readonly to: number;
  readonly sampled: boolean;
  /** Prompt positions scored by this step's logit rows, in row order. */
  readonly scored: readonly number[];
}

export interface ScheduledStep {
  readonly batch: ForwardBatch;
  readonly parts: readonly StepPart[];
  readonly promptTokens: number;
}

const NO_BIAS: readonly (readonly [number, number])[] = [];
const NO_TOKENS: readonly number[] = [];
const NO_SCORES: readonly (readonly [number, number])[] = [];

export class BatchBuilder {
  #stepId = 0;
  #requests: ForwardRequest[] = [];
  #parts: StepPart[] = [];
  #promptTokens = 0;
  #decodeRows = 0;

  constructor(
    private readonly options: SchedulerOptions,
    private readonly limits: RunnerLimits,
    private readonly queues: RequestQueues,
    private readonly blocks: BlockManager,
    private readonly policy: SchedulePolicy,
    private readonly stats: LoadStats,
  ) {}

  /** The next step, or null when nothing can be computed now. Its requests have advanced already. */
  next(): ScheduledStep | null {
    this.#requests = [];
    this.#parts = [];
    this.#promptTokens = 0;
    this.#decodeRows = 0;
    if (this.options.enableMixedChunk) {
      this.#addDecodes();
      this.#addPrefills();
    } else {
      this.#addPrefills();
      if (this.#parts.length === 0) this.#addDecodes();
    }
    if (this.#parts.length === 0) return null;
    this.#stepId += 1;
    const mode = this.#promptTokens === 0 ? 'decode' : this.#decodeRows === 0 ? 'extend' : 'mixed';
    return {
      batch: { stepId: this.#stepId, mode, blockSize: this.limits.blockSize, requests: this.#requests },
      parts: this.#parts,
      promptTokens: this.#promptTokens,
    };
  }

  #addDecodes(): void {
    const { running } = this.queues;
    for (let i = 0; i < running.length; i++) {
      const request = running[i]!;
      if (!request.isDecoding || request.isComplete) continue;
      if (!this.#makeRoom(request)) continue; // it was the newest itself, and is back in the queue
      this.#add(request, request.computedLen + 1);
      this.#decodeRows += 1;
    }
  }

  /** A block for the request's next token, retracting the newest requests until there is one. */
  #makeRoom(request: Request): boolean {
    const wanted = this.blocks.blocksFor(request.computedLen + 1);
    while (!this.blocks.grow(request.table, wanted)) {
      const newest = this.queues.running[this.queues.running.length - 1]!;
      this.blocks.close(newest.table);
      this.queues.retract(newest);
      this.stats.retractions += 1;
      if (newest === request) return false;
    }
    return true;
  }

  #addPrefills(): void {
    const chunked = this.options.chunkedPrefillSize > 0;
    let budget = chunked ? this.options.chunkedPrefillSize : this.options.maxPrefillTokens;
    for (const request of this.queues.running) {
      if (budget <= 0) return;
      if (request.isDecoding || request.isComplete || request.remaining === 0) continue;
      budget -= this.#addChunk(request, budget);
    }
    if (this.queues.waiting.length === 0) return;
    this.policy.order(this.queues.waiting);
    while (budget > 0 && this.queues.waiting.length > 0 && this.queues.hasFreeSlot) {
      const request = this.queues.waiting[0]!;
      if (!chunked && request.tokens.length > budget && this.#promptTokens > 0) return;
      if (!this.#admit(request)) return;
      budget -= this.#addChunk(request, chunked ? budget : Number.POSITIVE_INFINITY);
    }
  }

  /** Moves the first waiting request to the running ones if its blocks can be had. */
  #admit(request: Request): boolean {
    const table = this.blocks.open(request.tokens, request.matchLimit);
    const needed = this.blocks.blocksFor(request.tokens.length);
    // Leave each running request a block to go on with: admitting is not worth a retraction.
    const headroom = this.queues.running.length;
    const fits = this.blocks.availableBlocks - (needed - table.shared) >= headroom && this.blocks.grow(table, needed);
    if (!fits) {
      this.blocks.close(table);
      return false;
    }
    request.table = table;
    request.cachedLen = table.shared * this.limits.blockSize;
    request.computedLen = request.cachedLen;
    if (request.retractions === 0) {
      request.reportedCached = request.cachedLen;
      request.scheduledAt = monotonicSeconds();
      this.stats.cachedTokens += request.cachedLen;
      this.stats.promptTokens += request.promptLen;
    }
    this.queues.start(request);
    return true;
  }

  #addChunk(request: Request, budget: number): number {
    const count = Math.min(request.remaining, budget);
    this.#add(request, request.computedLen + count);
    this.#promptTokens += count;
    return count;
  }

  /** Adds the tokens [computedLen, to) of the request to the step. */
  #add(request: Request, to: number): void {
    const from = request.computedLen;
    const { tokens, logprobs, slot } = request;
    const sample = to === request.seqLen && request.sampling.maxNewTokens > 0;
    const ids = to <= tokens.length ? tokens.slice(from, to) : [...tokens.slice(from), -(slot + 1)];

    let scored = NO_SCORES as [number, number][];
    let positions: number[] = [];
    if (logprobs !== null && logprobs.startLen >= 0 && from < request.promptLen - 1) {
      const first = Math.max(request.scoredLen, logprobs.startLen, from + 1);
      const end = Math.min(to + 1, request.promptLen);
      scored = [];
      positions = [];
      for (let t = first; t < end; t++) {
        scored.push([t - 1 - from, tokens[t]!]);
        positions.push(t);
      }
    }

    let flags = 0;
    if (request.freshSlot) flags |= REQUEST_FLAG.resetSlot;
    if (logprobs !== null) flags |= REQUEST_FLAG.returnLogprob;
    if (request.hasPenalties) flags |= REQUEST_FLAG.trackHistory;
    this.#requests.push({
      slot,
      tokenIds: ids,
      firstPosition: from,
      blocks: request.table.blocks,
      flags,
      sample,
      scored,
      sampling: request.rowSampling,
      bias: sample ? biasOf(request) : NO_BIAS,
      history:
        request.freshSlot && request.hasPenalties && request.outputLen > 0
          ? tokens.slice(request.promptLen)
          : NO_TOKENS,
    });
    this.#parts.push({ request, epoch: request.epoch, to, sampled: sample, scored: positions });
    request.advance(to, sample);
  }
}

/** The request's logit bias, with its stop tokens suppressed while too few tokens are generated. */
function biasOf(request: Request): readonly (readonly [number, number])[] {
  const { logitBias, minNewTokens } = request.sampling;
  if (request.seqLen - request.promptLen + 1 >= minNewTokens) return logitBias;
  const suppressed = [...request.stopIds].map((id) => [id, Number.NEGATIVE_INFINITY] as const);
  return [...logitBias.filter(([id]) => !request.stopIds.has(id)), ...suppressed];
}

// A batch that never changes: every sequence has its own slot and blocks, runs from its prompt to its last token beside
// all others, and nothing is scheduled. Drives ModelRunner directly.
import { type ForwardRequest, GREEDY, NO_BIAS } from '../../engine/forward-batch.js';
import { REQUEST_FLAG } from '../../engine/forward-batch-layout.js';
import type { ModelRunner } from '../../engine/model-runner.js';
import type { StepOutput } from '../../engine/step-output.js';
import { VitrineError } from '../../util/errors.js';

export interface StaticBatchOptions {
  /** Default false. */
  readonly returnLogits?: boolean;
  /** The user wants to stop: no step begins any more. */
  readonly interrupt?: AbortSignal;
}

export class StaticBatch {
  readonly #runner: ModelRunner;
  readonly #returnLogits: boolean;
  readonly #interrupt: AbortSignal | undefined;
  /** Tokens of each sequence in the KV cache. */
  readonly #lengths: number[];
  /** First block of each sequence; its blocks are consecutive. */
  readonly #blocks: readonly (readonly number[])[];
  #steps = 0;

  /** `longest`: tokens that each sequence may grow to. */
  constructor(runner: ModelRunner, longest: readonly number[], options: StaticBatchOptions = {}) {
    this.#runner = runner;
    this.#returnLogits = options.returnLogits ?? false;
    this.#interrupt = options.interrupt;
    this.#lengths = longest.map(() => 0);
    let next = 0;
    this.#blocks = longest.map((tokens) => {
      const count = Math.ceil(tokens / runner.limits.blockSize);
      const blocks = Array.from({ length: count }, (_, i) => next + i);
      next += count;
      return blocks;
    });
  }

  get size(): number {
    return this.#lengths.length;
  }

  /**
   * Appends prompt tokens to every sequence and samples what follows. `profile`: with the step's spans.
   * Rejects with ABORTED after an interruption, as `decode` does.
   */
  extend(tokens: readonly ArrayLike<number>[], profile = false): Promise<StepOutput> {
    return this.#step('extend', tokens, profile);
  }

  /** Appends to every sequence the token sampled last, and samples the next. */
  decode(profile = false): Promise<StepOutput> {
    const tokens = this.#lengths.map((_, slot) => [-(slot + 1)]);
    return this.#step('decode', tokens, profile);
  }

  async #step(mode: 'extend' | 'decode', tokens: readonly ArrayLike<number>[], profile: boolean): Promise<StepOutput> {
    if (this.#interrupt?.aborted) throw new VitrineError('ABORTED', 'Interrupted before anything was measured');
    const requests = tokens.map((tokenIds, slot): ForwardRequest => {
      const firstPosition = this.#lengths[slot]!;
      const reset = firstPosition === 0 ? REQUEST_FLAG.resetSlot : 0;
      this.#lengths[slot] = firstPosition + tokenIds.length;
      return {
        slot,
        tokenIds,
        firstPosition,
        blocks: this.#blocks[slot]!,
        flags: reset | (this.#returnLogits ? REQUEST_FLAG.returnLogits : 0),
        sample: true,
        scored: [],
        scoredFrom: 0,
        sampling: GREEDY,
        bias: NO_BIAS,
        history: [],
      };
    });
    this.#steps += 1;
    return this.#runner.forward({
      stepId: this.#steps,
      mode,
      blockSize: this.#runner.limits.blockSize,
      requests,
      profile,
    });
  }
}

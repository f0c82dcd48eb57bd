// A static batch on the bare model runner: every request has its blocks and its slot from the start, no scheduler decides.
import { type ForwardRequest, GREEDY, NO_BIAS } from '../../engine/forward-batch.js';
import { REQUEST_FLAG } from '../../engine/forward-batch-layout.js';
import type { ModelRunner } from '../../engine/model-runner.js';
import type { StepOutput } from '../../engine/step-output.js';

const NOTHING: readonly number[] = [];

export interface StaticBatchOptions {
  /** Return the logits of every sampling row. */
  readonly logits?: boolean;
}

export class StaticBatch {
  readonly #runner: ModelRunner;
  readonly #prompts: readonly (readonly number[])[];
  readonly #tables: readonly (readonly number[])[];
  readonly #flags: number;
  /** Tokens computed, of each request. */
  readonly #lengths: number[];
  #stepId = 0;

  /** `maxLen`: the longest sequence, prompt and output. All requests must fit the KV cache together. */
  constructor(
    runner: ModelRunner,
    prompts: readonly (readonly number[])[],
    maxLen: number,
    options: StaticBatchOptions = {},
  ) {
    this.#runner = runner;
    this.#prompts = prompts;
    this.#flags = options.logits ? REQUEST_FLAG.returnLogits : 0;
    this.#lengths = prompts.map(() => 0);
    const blocksEach = Math.ceil(maxLen / runner.limits.blockSize);
    this.#tables = prompts.map((_, r) => Array.from({ length: blocksEach }, (_, i) => r * blocksEach + i));
  }

  /** Computes prompt tokens up to position `to` of each request (default: all) and samples after the last one. */
  prefill(to = Number.POSITIVE_INFINITY): Promise<StepOutput> {
    return this.#forward('extend', (r) => this.#prompts[r]!.slice(this.#lengths[r], to));
  }

  /** One more token for every request: the one sampled last goes in. */
  decode(): Promise<StepOutput> {
    return this.#forward('decode', (r) => [-(r + 1)]);
  }

  async #forward(mode: 'extend' | 'decode', tokensOf: (request: number) => readonly number[]): Promise<StepOutput> {
    const requests = this.#prompts.map((_, slot): ForwardRequest => {
      const tokenIds = tokensOf(slot);
      const firstPosition = this.#lengths[slot]!;
      this.#lengths[slot] = firstPosition + tokenIds.length;
      return {
        slot,
        tokenIds,
        firstPosition,
        blocks: this.#tables[slot]!,
        flags: this.#flags | (firstPosition === 0 ? REQUEST_FLAG.resetSlot : 0),
        sample: true,
        scored: NOTHING,
        scoredFrom: 0,
        sampling: GREEDY,
        bias: NO_BIAS,
        history: NOTHING,
      };
    });
    this.#stepId += 1;
    return this.#runner.forward({ stepId: this.#stepId, mode, blockSize: this.#runner.limits.blockSize, requests });
  }
}

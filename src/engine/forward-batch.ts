// ForwardBatch: what one step computes, as plain objects. The scheduler writes its steps row by row into the buffer
// that goes down to C++ (forward-batch-writer); benches, tests and replays build and read these objects.
import type { ForwardMode } from './forward-batch-layout.js';

/** How the sampling row of a request becomes a token; the defaults are greedy without any adjustment. */
export interface RowSampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  /** How many of the most likely tokens to return with log-probabilities. */
  readonly topLogprobs: number;
  /** Token ids whose log-probability is returned. */
  readonly watchIds: ArrayLike<number>;
}

export const GREEDY: RowSampling = {
  temperature: 0,
  topK: -1,
  topP: 1,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
  topLogprobs: 0,
  watchIds: [],
};

/** Amounts added to logits: values[i] to that of token ids[i]. -Infinity suppresses the token. */
export interface LogitBias {
  readonly ids: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

export const NO_BIAS: LogitBias = { ids: [], values: [] };

/** One request's part of a step. */
export interface ForwardRequest {
  /** Request slot. */
  readonly slot: number;
  /** Token ids of this step, at least one; -(s + 1) stands for the token last sampled in slot s. */
  readonly tokenIds: ArrayLike<number>;
  /** Position of tokenIds[0]. */
  readonly firstPosition: number;
  /** Block table covering positions 0 … firstPosition + tokenIds.length - 1; it may be longer. */
  readonly blocks: ArrayLike<number>;
  /** REQUEST_FLAG bits. */
  readonly flags: number;
  /** Sample a token after the last one of this step. */
  readonly sample: boolean;
  /** Tokens whose log-probability is wanted: scored[i] as the one that follows tokenIds[scoredFrom + i]. */
  readonly scored: ArrayLike<number>;
  readonly scoredFrom: number;
  readonly sampling: RowSampling;
  readonly bias: LogitBias;
  /** Generated tokens for the penalties; read with REQUEST_FLAG.resetSlot. */
  readonly history: ArrayLike<number>;
}

/**
 * A step. Requests are computed together: K and V of all tokens of a layer are stored before its attention runs, so a
 * request may read blocks that an earlier request of the same batch fills.
 */
export interface ForwardBatch {
  readonly stepId: number;
  readonly mode: ForwardMode;
  readonly blockSize: number;
  readonly requests: readonly ForwardRequest[];
  /** Record spans of the step (`StepOutput.spans`). */
  readonly profile?: boolean;
}

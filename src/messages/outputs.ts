// What a scheduler sends back. Every accepted request gets exactly one chunk whose `finish` is not null.

export type FinishReason =
  | { readonly type: 'stop'; readonly matched: number | string }
  | { readonly type: 'length'; readonly length: number }
  | {
      readonly type: 'abort';
      readonly message: string;
      readonly statusCode: number;
      readonly errType: string;
    };

/** Log-probabilities of consecutive positions (arrays of equal length). */
export interface TokenLogprobs {
  readonly ids: readonly number[];
  /** null for the first prompt token, which has no predecessor. */
  readonly values: readonly (number | null)[];
  /** Per position the most likely [id, logprob] pairs, best first; null where not asked for. */
  readonly top: readonly (readonly (readonly [number, number])[] | null)[];
  /** Per position [id, logprob] of the watched `tokenIds`; null where not asked for. */
  readonly watched: readonly (readonly (readonly [number, number])[] | null)[];
}

/** New tokens of one request since its last chunk. */
export interface TokenChunk {
  readonly rid: string;
  readonly tokenIds: readonly number[];
  /** Of `tokenIds`, if the request asked for log-probabilities. */
  readonly outputLogprobs?: TokenLogprobs;
  /** Of the prompt from `startLen`; on the first chunk only. */
  readonly inputLogprobs?: TokenLogprobs;
  /** null while running. */
  readonly finish: FinishReason | null;
  /** Prompt tokens served from the prefix cache. */
  readonly cachedTokens: number;
  /** How often the request lost its KV blocks to memory pressure and was computed again. */
  readonly retractions: number;
  /** Monotonic seconds: first scheduled, and prefill done. On the first and the final chunk. */
  readonly times?: { readonly queued: number; readonly scheduled: number; readonly firstToken: number };
}

export interface OutputsMessage {
  readonly kind: 'outputs';
  /** One step's chunks of all requests. */
  readonly chunks: readonly TokenChunk[];
}

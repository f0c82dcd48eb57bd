// What is known of one request after it ended. All times are seconds of the monotonic clock or differences of it.

export type LengthSource = 'server' | 'retokenized' | 'none';

export interface RequestRecord {
  readonly index: number;
  /** Prompt tokens by the client's count. */
  readonly promptLen: number;
  readonly requestedLen: number;
  /** When the request was due, and when it was sent: the time between is queueing in the client. */
  readonly arrivedAt: number;
  readonly sentAt: number;
  /** Last byte of the answer. */
  readonly endedAt: number;
  /** '' for a success. */
  readonly error: string;
  /** Cut short by the user: neither success nor failure. */
  readonly interrupted: boolean;
  /** Send to first text (SGLang's TTFT); to the first token where no text ever came; undefined where neither came. */
  readonly ttft: number | undefined;
  /** Send to the first chunk known to carry a token, text or not. */
  readonly firstToken: number | undefined;
  /** Gaps between tokens by SGLang's rules: each chunk's gap, shared among its tokens where the server counts them. */
  readonly gaps: readonly number[];
  /** Text of the chunk that ended gap i; for dialects that do not count tokens in each chunk. */
  readonly gapTexts: readonly string[];
  readonly text: string;
  /** By the server; undefined where it did not say. */
  readonly completionTokens: number | undefined;
  readonly promptTokens: number | undefined;
}

export const isSuccess = (record: RequestRecord): boolean => record.error === '' && !record.interrupted;

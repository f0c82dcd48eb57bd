// What is known of one request after it ended. All times are seconds of the monotonic clock or differences of it.

export interface RequestRecord {
  /** Of the request in the workload. */
  readonly index: number;
  /** Of the conversation: 0 for the first. */
  readonly turn: number;
  /** Prompt tokens by the client's count. */
  readonly promptLen: number;
  readonly requestedLen: number;
  /** When the request was due, and when it was sent: the time between is queueing in the client. */
  readonly arrivedAt: number;
  readonly sentAt: number;
  /** Last byte of the answer; of a failure, when it was known. */
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
  /** Prompt tokens that came from the server's prefix cache. */
  readonly cachedTokens: number | undefined;
}

export const isSuccess = (record: RequestRecord): boolean => record.error === '' && !record.interrupted;

/** Neither a success nor cut short by the user. */
export const isFailure = (record: RequestRecord): boolean => record.error !== '' && !record.interrupted;

/** One pass over a workload. */
export interface RunRecords {
  /** By index, then turn; requests that were never sent are missing. */
  readonly records: readonly RequestRecord[];
  /** Start of the load: monotonic seconds, and the same moment on the wall clock in milliseconds since 1970. */
  readonly start: number;
  readonly startedAt: number;
  /** Seconds from the start to the last byte of the last answer. */
  readonly duration: number;
}

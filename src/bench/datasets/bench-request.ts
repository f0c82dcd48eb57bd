// One request of a workload, before it is dressed in a server's dialect.

export interface BenchRequest {
  /** Text, or token ids where they are sent as such. */
  readonly prompt: string | readonly number[];
  /** Prompt tokens by the client's count. */
  readonly promptLen: number;
  /** Tokens to ask for. */
  readonly outputLen: number;
}

/** A workload and what had to be left out to make it. */
export interface Workload {
  readonly requests: readonly BenchRequest[];
  /** Reason → number of rows of the source file that could not be used. */
  readonly skipped: Readonly<Record<string, number>>;
}

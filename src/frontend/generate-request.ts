// What the front end is asked for, by HTTP routes and by the library alike.
import type { LogprobOptions } from '../messages/requests.js';
import type { RequestedSampling } from './sampling-params.js';

export type Prompt =
  /** `addSpecialTokens` false: for text that a chat template rendered, which has its own bos. */
  { readonly text: string; readonly addSpecialTokens: boolean } | { readonly inputIds: readonly number[] };

export interface GenerateRequest {
  /** Default: a random one. With n > 1 the outputs are called `<rid>_<i>`. */
  readonly rid?: string;
  /** An id that several requests share, by which they can be aborted together. Default: `rid`. */
  readonly family?: string;
  readonly prompt: Prompt;
  readonly sampling: RequestedSampling;
  /** Used when `sampling.maxNewTokens` is undefined, and cut to what fits; Infinity: as many as fit. */
  readonly defaultMaxNewTokens: number;
  readonly logprobs: LogprobOptions | null;
}

/** Encoded, checked, with its final limits: what is left is to run it. */
export interface PreparedRequest {
  /** What the user calls it. */
  readonly rid: string;
  /** The id that all outputs of one call share: aborting it aborts them all. */
  readonly family: string;
  readonly inputIds: readonly number[];
  readonly sampling: RequestedSampling;
  readonly maxNewTokens: number;
  readonly seed: number;
  readonly logprobs: LogprobOptions | null;
  /** Monotonic seconds at which the request came in. */
  readonly receivedAt: number;
}

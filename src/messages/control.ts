// Everything between front end and scheduler that is not a token: state, cache, profiles, life and death.
import type { ProfileReplyMessage, ProfileRequestMessage, RankProfile } from './profile.js';

/** Of all steps of one kind: the time they took, and the least that they had to compute and to read. */
export interface PhaseWork {
  readonly steps: number;
  readonly seconds: number;
  readonly flops: number;
  /** Of these, with what is held in float8. */
  readonly float8Flops: number;
  readonly bytes: number;
}

export interface StepWorkTotals {
  /** Prompt tokens alone, generated tokens alone, both. */
  readonly extend: PhaseWork;
  readonly decode: PhaseWork;
  readonly mixed: PhaseWork;
}

/** Scheduler state for /server_info, /metrics and the benches. Counters only grow. */
export interface SchedulerState {
  readonly runningRequests: number;
  readonly queuedRequests: number;
  readonly usedTokens: number;
  readonly cachedTokens: number;
  readonly totalTokens: number;
  readonly forwardSteps: number;
  readonly promptTokensTotal: number;
  readonly cachedTokensTotal: number;
  readonly generatedTokensTotal: number;
  readonly retractionsTotal: number;
  /** Requests that an abort message ended: also those that the front end had finished itself, at a stop string. */
  readonly abortedTotal: number;
  /** Tokens per second over the last completed decode interval. */
  readonly lastGenThroughput: number;
  readonly stepWork: StepWorkTotals;
  /** The one under way, as it stands; null: none. */
  readonly profile: RankProfile | null;
}

/** What a rank knows after start-up. */
export interface RankInfo {
  /** KV capacity in tokens. */
  readonly maxTotalTokens: number;
  readonly maxRunningRequests: number;
  /** -1 or 0: prompts are not cut. */
  readonly chunkedPrefillSize: number;
  readonly memFractionStatic: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly weightBytes: number;
  readonly kvCacheBytes: number;
  readonly graphBytes: number;
  readonly dtype: string;
  /** As the engine names it. */
  readonly kvCacheDtype: string;
  /** Of the weights: the method that was asked for, else that of the checkpoint; null: none. */
  readonly quantization: string | null;
  /** Decode batches that have a CUDA graph, ascending; none on a CPU. */
  readonly cudaGraphBatchSizes: readonly number[];
  readonly device: string;
  /** CPU instruction set in use or GPU name. */
  readonly deviceName: string;
  readonly loadSeconds: number;
}

/** front end → scheduler */
export type ControlRequest =
  | { readonly kind: 'state'; readonly id: number }
  | { readonly kind: 'flush-cache'; readonly id: number }
  | ProfileRequestMessage
  | { readonly kind: 'shutdown' };

/** scheduler → front end */
export type ControlReply =
  | { readonly kind: 'ready'; readonly info: RankInfo }
  | { readonly kind: 'state-result'; readonly id: number; readonly state: SchedulerState }
  /** `flushed` is false when a request was running or waiting; nothing was done then. */
  | { readonly kind: 'flush-cache-result'; readonly id: number; readonly flushed: boolean }
  | ProfileReplyMessage
  /** The engine is dead; every running request has already got its final chunk. */
  | { readonly kind: 'fatal'; readonly code: string; readonly message: string };

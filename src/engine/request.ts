// One request as the scheduler runs it: its tokens, how far they are computed, and what it has produced.

import type { BlockTable } from '../kv-cache/block-manager.js';
import type { FinishReason, TokenLogprobs } from '../messages/outputs.js';
import type { GenerateMessage, LogprobOptions, SamplingParams } from '../messages/requests.js';
import { invariant } from '../util/errors.js';
import { GREEDY, type RowSampling } from './forward-batch.js';

/** Grows position by position; becomes the TokenLogprobs of a chunk. */
export class LogprobList {
  ids: number[] = [];
  values: (number | null)[] = [];
  top: ((readonly [number, number])[] | null)[] = [];
  watched: ((readonly [number, number])[] | null)[] = [];

  push(
    id: number,
    value: number | null,
    top: (readonly [number, number])[] | null,
    watched: (readonly [number, number])[] | null,
  ): void {
    this.ids.push(id);
    this.values.push(value);
    this.top.push(top);
    this.watched.push(watched);
  }

  take(): TokenLogprobs {
    const { ids, values, top, watched } = this;
    this.ids = [];
    this.values = [];
    this.top = [];
    this.watched = [];
    return { ids, values, top, watched };
  }
}

export class Request {
  readonly rid: string;
  readonly promptLen: number;
  readonly sampling: SamplingParams;
  readonly rowSampling: RowSampling;
  readonly logprobs: LogprobOptions | null;
  /** Prompt and generated tokens that the host knows. */
  readonly tokens: number[];
  /** Token ids that end the generation. */
  readonly stopIds: ReadonlySet<number>;

  /** Prefix served from the cache when the request last (re)started. */
  cachedLen = 0;
  /** Tokens whose K and V are computed, or will be by a step already submitted. */
  computedLen = 0;
  /** Tokens of the sequence, with those that steps already submitted will sample. */
  seqLen: number;

  /** Request slot while running, else -1. */
  slot = -1;
  table: BlockTable = { blocks: [], shared: 0, node: null };
  /** Changes when the request loses its slot: results of older steps are void. */
  epoch = 0;
  /** The next step must set the slot up (REQUEST_FLAG.resetSlot). */
  freshSlot = true;
  finish: FinishReason | null = null;

  retractions = 0;
  /** cachedLen of the first start: what the user is told. */
  reportedCached = 0;
  readonly inputLogprobs = new LogprobList();
  readonly outputLogprobs = new LogprobList();
  /** Prompt positions whose log-probabilities are done. */
  scoredLen = 0;
  inputLogprobsSent = false;
  /** Known output tokens already sent to the front end. */
  sentOutputs = 0;
  /** Monotonic seconds. */
  readonly queuedAt: number;
  scheduledAt = 0;
  firstTokenAt = 0;

  constructor(message: GenerateMessage, eosTokenIds: readonly number[], now: number) {
    this.rid = message.rid;
    this.sampling = message.sampling;
    this.logprobs = message.logprobs;
    this.tokens = [...message.inputIds];
    this.promptLen = message.inputIds.length;
    this.seqLen = this.promptLen;
    this.stopIds = new Set([...(message.sampling.ignoreEos ? [] : eosTokenIds), ...message.sampling.stopTokenIds]);
    this.queuedAt = now;
    const s = message.sampling;
    this.rowSampling = {
      ...GREEDY,
      temperature: s.temperature,
      ...(s.temperature > 0 ? { topK: s.topK, topP: s.topP, minP: s.minP, seed: s.seed } : {}),
      frequencyPenalty: s.frequencyPenalty,
      presencePenalty: s.presencePenalty,
      repetitionPenalty: s.repetitionPenalty,
      topLogprobs: message.logprobs?.topCount ?? 0,
      watchIds: message.logprobs?.tokenIds ?? [],
    };
  }

  /** Longest this sequence may become. */
  get maxLen(): number {
    return this.promptLen + this.sampling.maxNewTokens;
  }

  get outputLen(): number {
    return this.tokens.length - this.promptLen;
  }

  get hasPenalties(): boolean {
    const s = this.rowSampling;
    return s.frequencyPenalty !== 0 || s.presencePenalty !== 0 || s.repetitionPenalty !== 1;
  }

  /** Tokens not yet computed. */
  get remaining(): number {
    return this.seqLen - this.computedLen;
  }

  /** All known tokens but the newest are computed: each further step is one token. */
  get isDecoding(): boolean {
    return this.computedLen >= this.promptLen && this.remaining === 1 && this.seqLen > this.promptLen;
  }

  /** Every token it may have is there or on its way. */
  get isComplete(): boolean {
    return this.seqLen >= this.maxLen && (this.sampling.maxNewTokens > 0 || this.computedLen >= this.promptLen);
  }

  /** How much of the sequence a cached prefix may replace: one token, or the first scored one, must be computed. */
  get matchLimit(): number {
    const limit = this.tokens.length - 1;
    const start = this.logprobs?.startLen ?? -1;
    if (start < 0 || this.scoredLen >= this.promptLen) return limit;
    return Math.min(limit, Math.max(this.scoredLen, start) - 1);
  }

  /** Tokens [from, to) are computed by a step that is submitted now; `sampled`: it also samples the next one. */
  advance(to: number, sampled: boolean): void {
    this.computedLen = to;
    if (sampled) this.seqLen += 1;
    this.freshSlot = false;
    this.checkInvariant();
  }

  /** Back to the queue with all its tokens; nothing is computed any more. */
  retract(): void {
    this.epoch += 1;
    this.retractions += 1;
    this.slot = -1;
    this.freshSlot = true;
    this.cachedLen = 0;
    this.computedLen = 0;
    this.seqLen = this.tokens.length;
  }

  checkInvariant(): void {
    invariant(
      this.cachedLen <= this.computedLen && this.computedLen <= this.seqLen && this.seqLen <= this.maxLen,
      `request ${this.rid}: cached ${this.cachedLen} <= computed ${this.computedLen} <= seq ${this.seqLen} <= max ${this.maxLen}`,
    );
  }

  /** Appends a sampled token and decides whether it ends the request. */
  append(token: number): void {
    this.tokens.push(token);
    if (this.outputLen >= this.sampling.minNewTokens && this.stopIds.has(token)) {
      this.finish = { type: 'stop', matched: token };
    } else if (this.outputLen >= this.sampling.maxNewTokens) {
      this.finish = { type: 'length', length: this.outputLen };
    }
  }
}

// One request as the scheduler runs it: its tokens, how far they are computed, its place in the engine, what it produced.
import { BlockTable } from '../kv-cache/block-table.js';
import type { FinishReason } from '../messages/outputs.js';
import type { GenerateMessage, LogprobOptions, SamplingParams } from '../messages/requests.js';
import { invariant } from '../util/errors.js';
import { GREEDY, type LogitBias, NO_BIAS, type RowSampling } from './forward-batch.js';
import { LogprobList } from './logprob-list.js';
import { TokenList } from './token-list.js';

/** Room for output tokens set aside at once; longer outputs make the list grow. */
const FIRST_ROOM = 64;

export interface RequestDefaults {
  readonly eosTokenIds: readonly number[];
  /** Stop ids beyond it can never be sampled. */
  readonly vocabSize: number;
  /** Longest sequence that the KV cache and the context allow, its last token (never computed) included. */
  readonly maxSequence: number;
}

/** Identity of a request's arrow in traces; the front end, which makes the rids, derives the same. */
export function flowIdOf(rid: string): number {
  return Number.parseInt(rid, 36) || 0;
}

export class Request {
  readonly rid: string;
  /** Identity of the request's arrow in traces. */
  readonly flowId: number;
  readonly promptLen: number;
  /** Longest this sequence may become: prompt and new tokens, cut to what fits. */
  readonly maxLen: number;
  readonly sampling: SamplingParams;
  readonly rowSampling: RowSampling;
  readonly logprobs: LogprobOptions | null;
  /** Prompt and generated tokens that the host knows. */
  readonly tokens: TokenList;
  /** Token ids that end the generation. */
  readonly stopIds: ReadonlySet<number>;
  readonly hasPenalties: boolean;
  readonly #bias: LogitBias;
  /** The bias while stop tokens are suppressed. */
  readonly #biasWithoutStops: LogitBias;

  /** Prefix served from the cache when the request last (re)started. */
  cachedLen = 0;
  /** Tokens whose K and V are computed, or will be by a step already submitted. */
  computedLen = 0;
  /** Tokens of the sequence, with those that steps already submitted will sample. */
  seqLen: number;

  /** Request slot while running, else -1. */
  slot = -1;
  table = new BlockTable();
  /** Changes when the request loses its slot: results of steps submitted before are void. */
  epoch = 0;
  /** The next step must set the slot up (REQUEST_FLAG.resetSlot). */
  freshSlot = true;
  finish: FinishReason | null = null;

  /** Times it lost its slot and blocks to memory pressure. */
  retractions = 0;
  /** Times a request that came later was started first. */
  passedOver = 0;
  /** cachedLen of the first start: what the user is told. */
  reportedCached = 0;
  readonly inputLogprobs = new LogprobList();
  readonly outputLogprobs = new LogprobList();
  /** Prompt positions whose log-probabilities are done. */
  scoredLen = 0;
  inputLogprobsSent = false;
  /** Known output tokens already sent to the front end. */
  sentOutputs = 0;
  /** Monotonic seconds; 0: not yet. */
  readonly queuedAt: number;
  scheduledAt = 0;
  firstTokenAt = 0;

  constructor(message: GenerateMessage, defaults: RequestDefaults, now: number) {
    const { sampling, logprobs, inputIds } = message;
    this.rid = message.rid;
    this.flowId = flowIdOf(message.rid);
    this.sampling = sampling;
    this.logprobs = logprobs;
    this.promptLen = inputIds.length;
    this.seqLen = inputIds.length;
    // A sequence of maxSequence tokens is complete without its last token being computed.
    this.maxLen = Math.max(inputIds.length, Math.min(inputIds.length + sampling.maxNewTokens, defaults.maxSequence));
    this.tokens = new TokenList(inputIds, Math.min(this.maxLen - inputIds.length, FIRST_ROOM) + 1);
    const stopIds = [...(sampling.ignoreEos ? [] : defaults.eosTokenIds), ...sampling.stopTokenIds];
    this.stopIds = new Set(stopIds.filter((id) => id >= 0 && id < defaults.vocabSize));
    this.queuedAt = now;
    this.rowSampling = rowSamplingOf(sampling, logprobs);
    this.hasPenalties =
      sampling.frequencyPenalty !== 0 || sampling.presencePenalty !== 0 || sampling.repetitionPenalty !== 1;
    this.#bias = biasOf(sampling.logitBias);
    this.#biasWithoutStops =
      sampling.minNewTokens === 0
        ? this.#bias
        : biasOf([
            ...sampling.logitBias.filter(([id]) => !this.stopIds.has(id)),
            ...[...this.stopIds].map((id) => [id, Number.NEGATIVE_INFINITY] as const),
          ]);
    if (logprobs?.startLen === 0) {
      this.inputLogprobs.push(this.tokens.at(0), null, null, null); // nothing predicts the first token
      this.scoredLen = 1;
    }
  }

  /** Output tokens that the host knows. */
  get outputLen(): number {
    return this.tokens.length - this.promptLen;
  }

  /** Only the newest token is left to compute, and it is a generated one: each step from here on is one token. */
  get isDecoding(): boolean {
    return this.computedLen === this.seqLen - 1 && this.seqLen > this.promptLen;
  }

  /** Every token it may have is there or on its way: no step is to be submitted for it any more. */
  get isComplete(): boolean {
    return this.seqLen >= this.maxLen && (this.maxLen > this.promptLen || this.computedLen >= this.promptLen);
  }

  /** Tokens of prompt (and, after a retraction, output) still to compute in prefill chunks. */
  get prefillLeft(): number {
    return this.isComplete || this.isDecoding ? 0 : this.seqLen - this.computedLen;
  }

  /** New tokens still to be asked for. */
  get newTokensLeft(): number {
    return this.maxLen - this.seqLen;
  }

  /** How much of the sequence a cached prefix may replace: the last token, or the one before the first scored, must be computed. */
  get matchLimit(): number {
    const limit = this.tokens.length - 1;
    const start = this.logprobs?.startLen ?? -1;
    if (start < 0 || this.scoredLen >= this.promptLen) return limit;
    return Math.min(limit, Math.max(this.scoredLen, start) - 1);
  }

  /** Of the tokens whose K and V are computed or submitted, those that the host knows. */
  get knownComputedLen(): number {
    return Math.min(this.computedLen, this.tokens.length);
  }

  /** What is added to the logits of the token that is sampled next. Decided by position: the host may not know it yet. */
  get bias(): LogitBias {
    return this.seqLen - this.promptLen < this.sampling.minNewTokens ? this.#biasWithoutStops : this.#bias;
  }

  /** Tokens [computedLen, to) are computed by a step that is submitted now; `sampled`: it also samples the next one. */
  advance(to: number, sampled: boolean): void {
    this.computedLen = to;
    if (sampled) this.seqLen += 1;
    this.freshSlot = false;
    this.#checkLengths();
  }

  /** It runs from here on in `slot`, with the blocks of `table`, which begin with a cached prefix of `cachedLen` tokens. */
  start(slot: number, table: BlockTable, cachedLen: number): void {
    this.slot = slot;
    this.table = table;
    this.cachedLen = cachedLen;
    this.computedLen = cachedLen;
    this.freshSlot = true;
    this.#checkLengths();
  }

  /** It lost slot and blocks. What it generated stays; what steps in flight sample for it will be sampled again. */
  retract(): void {
    this.epoch += 1;
    this.retractions += 1;
    this.slot = -1;
    this.cachedLen = 0;
    this.computedLen = 0;
    this.seqLen = this.tokens.length;
  }

  /** Appends a sampled token and decides whether it ends the request. */
  append(token: number): void {
    this.tokens.push(token);
    if (this.outputLen > this.sampling.minNewTokens && this.stopIds.has(token)) {
      this.finish = { type: 'stop', matched: token };
    } else if (this.tokens.length >= this.maxLen) {
      this.finish = { type: 'length', length: this.outputLen };
    }
  }

  #checkLengths(): void {
    const { cachedLen, computedLen, seqLen, maxLen } = this;
    if (cachedLen <= computedLen && computedLen <= seqLen && seqLen <= maxLen) return; // no message to build: hot
    invariant(false, `request ${this.rid}: ${cachedLen} cached <= ${computedLen} computed <= ${seqLen} <= ${maxLen}`);
  }
}

/** Parameters that greedy sampling ignores are left at their defaults, so that their sections can be left out. */
function rowSamplingOf(sampling: SamplingParams, logprobs: LogprobOptions | null): RowSampling {
  const { temperature, topK, topP, minP, seed } = sampling;
  return {
    temperature,
    topK: temperature > 0 ? topK : GREEDY.topK,
    topP: temperature > 0 ? topP : GREEDY.topP,
    minP: temperature > 0 ? minP : GREEDY.minP,
    seed: temperature > 0 ? seed : GREEDY.seed,
    frequencyPenalty: sampling.frequencyPenalty,
    presencePenalty: sampling.presencePenalty,
    repetitionPenalty: sampling.repetitionPenalty,
    topLogprobs: logprobs?.topCount ?? 0,
    watchIds: logprobs?.tokenIds ?? [],
  };
}

function biasOf(pairs: readonly (readonly [id: number, value: number])[]): LogitBias {
  return pairs.length === 0 ? NO_BIAS : { ids: pairs.map(([id]) => id), values: pairs.map(([, value]) => value) };
}

// One running output in the front end: its tokens, text, log-probabilities and times. Chunks go in, text comes out.
import type { FinishReason, TokenChunk, TokenLogprobs } from '../messages/outputs.js';
import { IncrementalDetokenizer } from '../tokenizer/incremental-detokenizer.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { monotonicSeconds } from '../util/clock.js';
import type { PreparedRequest } from './generate-request.js';
import { LogprobList } from './logprob-list.js';
import { StopStringMatcher } from './stop-string-matcher.js';

export interface StateOptions {
  /** null: no text, only token ids. */
  readonly tokenizer: Tokenizer | null;
  /** Tokens per streamed chunk unless the request says otherwise. */
  readonly streamInterval: number;
}

export class RequestState {
  readonly request: PreparedRequest;
  /** All output tokens so far, the one that ended the output included. */
  readonly tokenIds: number[] = [];
  /** null while running. */
  finish: FinishReason | null = null;
  /** Prompt tokens served from the prefix cache. */
  cachedTokens = 0;
  retractions = 0;
  /** Of the prompt from `logprobs.startLen`, once there; of the output. null where not asked for. */
  inputLogprobs: TokenLogprobs | null = null;
  readonly outputLogprobs: LogprobList | null;
  /** Scheduler times in monotonic seconds; null until the first chunk. */
  times: NonNullable<TokenChunk['times']> | null = null;
  /** Monotonic seconds; 0 until it happens. */
  firstTokenAt = 0;
  lastTokenAt = 0;
  finishedAt = 0;

  readonly #detokenizer: IncrementalDetokenizer | null;
  readonly #stops: StopStringMatcher | null;
  readonly #interval: number;
  #text = '';
  #newText = '';
  /** Number of output tokens at the last report. */
  #reported = 0;

  constructor(request: PreparedRequest, { tokenizer, streamInterval }: StateOptions) {
    const { sampling, inputIds, logprobs } = request;
    this.request = request;
    this.outputLogprobs = logprobs === null ? null : new LogprobList();
    this.#detokenizer =
      tokenizer === null
        ? null
        : new IncrementalDetokenizer(tokenizer, {
            skipSpecialTokens: sampling.skipSpecialTokens,
            spacesBetweenSpecialTokens: sampling.spacesBetweenSpecialTokens,
            precedingIds: inputIds,
          });
    this.#stops = sampling.stop.length === 0 ? null : new StopStringMatcher(sampling.stop);
    this.#interval = sampling.streamInterval ?? streamInterval;
  }

  get rid(): string {
    return this.request.rid;
  }

  /** The output text so far, without what may still turn out to be a stop string. */
  get text(): string {
    return this.#text;
  }

  get promptTokens(): number {
    return this.request.inputIds.length;
  }

  get completionTokens(): number {
    return this.tokenIds.length;
  }

  /** Text since the last call. */
  takeNewText(): string {
    const text = this.#newText;
    this.#newText = '';
    return text;
  }

  /**
   * Takes in the scheduler's next chunk; a stop string in it finishes the request. Returns whether a stream should be
   * told: always at the first token and the end, else every `stream_interval` tokens.
   */
  accept(chunk: TokenChunk): boolean {
    if (this.finish !== null) return false;
    this.cachedTokens = chunk.cachedTokens;
    this.retractions = chunk.retractions;
    if (chunk.times !== undefined) this.times = chunk.times;
    if (chunk.inputLogprobs !== undefined) this.inputLogprobs = chunk.inputLogprobs;
    const taken = this.#takeTokens(chunk);
    if (chunk.outputLogprobs !== undefined) this.outputLogprobs?.append(chunk.outputLogprobs, taken);
    if (this.finish === null && chunk.finish !== null) this.end(chunk.finish);
    return this.#isDue();
  }

  /** Ends the output now, whatever the scheduler is doing. No effect on a finished one. */
  end(finish: FinishReason): void {
    if (this.finish !== null) return;
    if (this.#detokenizer !== null) this.#pushText(this.#detokenizer.flush(), true);
    if (this.finish !== null) return; // the last characters completed a stop string
    if (this.#stops !== null) this.#give(this.#stops.flush());
    this.#finish(finish);
  }

  /** Returns how many of the chunk's tokens belong to the output: all, or those up to the end of a stop string. */
  #takeTokens(chunk: TokenChunk): number {
    const { tokenIds, finish } = chunk;
    if (tokenIds.length === 0) return 0;
    this.lastTokenAt = monotonicSeconds();
    if (this.firstTokenAt === 0) this.firstTokenAt = this.lastTokenAt;
    const trimLast = finish?.type === 'stop' && !this.request.sampling.noStopTrim;
    const detokenizer = this.#detokenizer;
    for (let i = 0; i < tokenIds.length; i++) {
      const id = tokenIds[i]!;
      this.tokenIds.push(id);
      if (detokenizer === null || (trimLast && i === tokenIds.length - 1)) continue;
      this.#pushText(detokenizer.push(id), false);
      if (this.finish !== null) return i + 1;
    }
    return tokenIds.length;
  }

  #pushText(piece: string, final: boolean): void {
    if (piece === '') return;
    if (this.#stops === null) {
      this.#give(piece);
      return;
    }
    // A stop string does not count before min_new_tokens, as no stop token does.
    const counts = final || this.tokenIds.length >= this.request.sampling.params.minNewTokens;
    const found = this.#stops.push(piece, counts);
    if (typeof found === 'string') {
      this.#give(found);
      return;
    }
    // As in SGLang, "no trim" keeps the whole token in which the stop string ends.
    this.#give(this.request.sampling.noStopTrim ? found.before + found.rest : found.before);
    this.#finish({ type: 'stop', matched: found.stop });
  }

  #give(text: string): void {
    this.#text += text;
    this.#newText += text;
  }

  #finish(finish: FinishReason): void {
    this.finish = finish;
    this.finishedAt = monotonicSeconds();
  }

  #isDue(): boolean {
    const count = this.tokenIds.length;
    if (this.finish === null) {
      if (count === 0) return false;
      const interval = this.#interval;
      const due =
        this.#reported === 0 || Math.floor((count - 1) / interval) > Math.floor((this.#reported - 1) / interval);
      if (!due) return false;
    }
    this.#reported = count;
    return true;
  }
}

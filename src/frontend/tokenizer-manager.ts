// Owns the running requests of the front end: text or ids in, results out. Runs on the front end's event loop.
// Every started request ends in exactly one final update: a result, a coded error or an abort.
import { randomUUID } from 'node:crypto';
import type { RankInfo } from '../messages/control.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import type { ChatMessage } from '../tokenizer/chat-message.js';
import type { ChatTemplate } from '../tokenizer/chat-template.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { monotonicSeconds } from '../util/clock.js';
import { VitrineError } from '../util/errors.js';
import { silentLog } from '../util/log.js';
import { encodePrompt } from './encode-prompt.js';
import type { GenerateRequest, PreparedRequest } from './generate-request.js';
import { FrontEndTracer } from './profiler/front-end-tracer.js';
import { RequestLife } from './profiler/request-life.js';
import { checkPrompt, limitNewTokens } from './prompt-limits.js';
import type { RequestObserver } from './request-observer.js';
import { RequestState } from './request-state.js';
import { seedOf } from './sampling-params.js';
import type { SchedulerClient } from './scheduler-client.js';
import { SeedSource } from './seed-source.js';

export interface TokenizerManagerDeps {
  readonly scheduler: SchedulerClient;
  readonly info: RankInfo;
  /** null: no text, only token ids (`--skip-tokenizer-init`). */
  readonly tokenizer: Tokenizer | null;
  /** null: the model has none. */
  readonly chatTemplate: ChatTemplate | null;
  readonly streamInterval: number;
  /** First of the seeds of requests that bring none; `undefined`: drawn. */
  readonly randomSeed: number | undefined;
  readonly observer?: RequestObserver;
  /** Default: one that never records. */
  readonly tracer?: FrontEndTracer;
}

export interface ChatRenderOptions {
  /** More variables of the template. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** The last message, an assistant's, is continued instead of answered. */
  readonly continueFinalMessage?: boolean;
}

/**
 * Called when there is something new to send (see `RequestState.accept`), and once with `state.finish` set; synchronous,
 * so that what one step brings is handled together.
 */
export type UpdateListener = (state: RequestState) => void;

interface Running {
  readonly state: RequestState;
  readonly listener: UpdateListener;
  readonly schedulerId: string;
  readonly life: RequestLife;
  readonly delivers: boolean;
}

export interface StartOptions {
  /** The caller says by `delivered` when the last byte of an output has gone; else an output ends with its final update. */
  readonly delivers?: boolean;
}

export class TokenizerManager {
  readonly info: RankInfo;
  readonly tokenizer: Tokenizer | null;
  readonly tracer: FrontEndTracer;
  readonly #scheduler: SchedulerClient;
  readonly #chatTemplate: ChatTemplate | null;
  readonly #streamInterval: number;
  readonly #observer: RequestObserver | null;
  readonly #seeds: SeedSource;
  readonly #running = new Map<string, Running>();
  /** Finished, with bytes that are still to go. */
  readonly #undelivered = new Map<RequestState, RequestLife>();
  #idleWaiters: (() => void)[] = [];

  constructor(deps: TokenizerManagerDeps) {
    this.info = deps.info;
    this.tokenizer = deps.tokenizer;
    this.tracer = deps.tracer ?? new FrontEndTracer({ processName: 'front end', log: silentLog });
    this.#scheduler = deps.scheduler;
    this.#chatTemplate = deps.chatTemplate;
    this.#streamInterval = deps.streamInterval;
    this.#observer = deps.observer ?? null;
    this.#seeds = new SeedSource(deps.randomSeed);
  }

  get runningRequests(): number {
    return this.#running.size;
  }

  /** The tokenizer, or an INVALID_REQUEST that blames `field`. */
  needTokenizer(field: string): Tokenizer {
    if (this.tokenizer !== null) return this.tokenizer;
    throw new VitrineError('INVALID_REQUEST', `${field} needs a tokenizer, and --skip-tokenizer-init is set.`, {
      param: field,
    });
  }

  /** Prompt text of a conversation; encode it without special tokens. Error: INVALID_REQUEST. */
  renderChat(messages: readonly ChatMessage[], options: ChatRenderOptions = {}): string {
    const mark = this.tracer.begin();
    const text = this.#renderChat(messages, options);
    this.tracer.end(mark, 'renderChat');
    return text;
  }

  #renderChat(messages: readonly ChatMessage[], options: ChatRenderOptions): string {
    this.needTokenizer('messages');
    if (this.#chatTemplate === null) {
      const message = 'The model has no chat template; start the server with --chat-template, or use completions.';
      throw new VitrineError('INVALID_REQUEST', message, { param: 'messages' });
    }
    const { extra = {}, continueFinalMessage = false } = options;
    if (!continueFinalMessage) return this.#chatTemplate.render(messages, { addGenerationPrompt: true, extra });
    const last = messages.at(-1);
    if (last?.role !== 'assistant' || typeof last.content !== 'string') {
      const message = 'continue_final_message needs a last message of the role assistant with text content.';
      throw new VitrineError('INVALID_REQUEST', message, { param: 'messages' });
    }
    return this.#chatTemplate.render(messages.slice(0, -1), { addGenerationPrompt: true, extra }) + last.content;
  }

  /** Encodes and checks a request; n > 1 becomes n requests. Errors: INVALID_REQUEST, REQUEST_TOO_LONG. */
  async prepare(request: GenerateRequest): Promise<PreparedRequest[]> {
    const receivedAt = monotonicSeconds();
    const { sampling, logprobs } = request;
    if (sampling.stop.length > 0) this.needTokenizer('sampling_params.stop');
    const inputIds = await this.#encode(request);
    const maxNewTokens = limitNewTokens(inputIds.length, sampling.maxNewTokens, request.defaultMaxNewTokens, this.info);
    const { minNewTokens } = sampling.params;
    if (minNewTokens > maxNewTokens) {
      throw new VitrineError(
        'INVALID_REQUEST',
        `min_new_tokens (${minNewTokens}) is more than the ${maxNewTokens} tokens that the request may generate.`,
        { param: 'min_new_tokens' },
      );
    }
    if (logprobs !== null && logprobs.startLen > inputIds.length) {
      throw new VitrineError(
        'INVALID_REQUEST',
        `logprob_start_len must be at most the prompt's ${inputIds.length} tokens, got ${logprobs.startLen}.`,
        { param: 'logprob_start_len' },
      );
    }
    const base = request.rid ?? randomUUID().replaceAll('-', '');
    const family = request.family ?? base;
    const seed = sampling.seed ?? this.#seeds.next();
    return Array.from({ length: sampling.n }, (_, i) => ({
      rid: sampling.n === 1 ? base : `${base}_${i}`,
      family,
      inputIds,
      sampling,
      maxNewTokens,
      seed: seedOf(seed, i),
      logprobs,
      receivedAt,
    }));
  }

  /** Starts all or, on an error, none. Errors: INVALID_REQUEST (an id that is in use), ENGINE_FAILED. */
  start(requests: readonly PreparedRequest[], listener: UpdateListener, options: StartOptions = {}): RequestState[] {
    const { failure } = this.#scheduler;
    if (failure !== null) throw failure;
    const rids = new Set<string>();
    for (const { rid } of requests) {
      if (this.#running.has(rid) || rids.has(rid)) {
        throw new VitrineError('INVALID_REQUEST', `A request with the id ${rid} is already running.`, { param: 'rid' });
      }
      rids.add(rid);
    }
    return requests.map((request) => this.#start(request, listener, options.delivers ?? false));
  }

  /** Ends a request now; its listener gets the final update unless it is told nothing (`silent`). */
  abort(state: RequestState, finish: FinishReason, silent = false): void {
    const running = this.#running.get(state.rid);
    if (running?.state !== state) return; // finished
    state.end(finish);
    this.#close(running);
    if (!silent) running.listener(state);
  }

  /** The last byte of a finished output has gone, or will never go; see `StartOptions.delivers`. */
  delivered(state: RequestState): void {
    const life = this.#undelivered.get(state);
    if (life === undefined) return;
    this.#undelivered.delete(state);
    this.#endLife(life);
  }

  /** Aborts the requests with this id, or the outputs of the request with this id; all for null. Returns how many. */
  abortById(rid: string | null, finish: FinishReason): number {
    const states = [...this.#running.values()]
      .map((running) => running.state)
      .filter((state) => rid === null || state.rid === rid || state.request.family === rid);
    for (const state of states) this.abort(state, finish);
    return states.length;
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  async #encode({ prompt }: GenerateRequest): Promise<readonly number[]> {
    if ('inputIds' in prompt) {
      checkPrompt(prompt.inputIds, this.info, 'input_ids');
      return prompt.inputIds;
    }
    const mark = this.tracer.begin();
    const encoding = encodePrompt(prompt.text, prompt.addSpecialTokens, this.needTokenizer('text'), this.info);
    this.tracer.end(mark, 'encode', prompt.text.length);
    const ids = await encoding;
    this.tracer.endEncoding(mark, ids.length);
    checkPrompt(ids, this.info, 'text');
    return ids;
  }

  #start(request: PreparedRequest, listener: UpdateListener, delivers: boolean): RequestState {
    const mark = this.tracer.begin();
    const state = new RequestState(request, { tokenizer: this.tokenizer, streamInterval: this.#streamInterval });
    const { inputIds, sampling, maxNewTokens, seed, logprobs } = request;
    const schedulerId = this.#scheduler.generate(
      { inputIds, sampling: { ...sampling.params, maxNewTokens, seed }, logprobs },
      (chunk) => this.#onChunk(running, chunk),
    );
    const life = new RequestLife(schedulerId, state, this.tracer.at(request.receivedAt));
    const running: Running = { state, listener, schedulerId, life, delivers }; // no chunk comes before this turn is over
    this.#running.set(request.rid, running);
    this.tracer.open(life);
    this.tracer.arrow(life.id);
    this.tracer.end(mark, 'send', inputIds.length);
    this.#observer?.started(state);
    return state;
  }

  #onChunk(running: Running, chunk: TokenChunk): void {
    const { state } = running;
    const before = state.completionTokens;
    const lastAt = state.lastTokenAt === 0 ? state.request.receivedAt : state.lastTokenAt;
    const due = state.accept(chunk);
    const count = state.completionTokens - before;
    if (before === 0 && count > 0) this.tracer.point('firstToken', running.life.id);
    if (count > 0) this.#observer?.tokens(state, count, state.lastTokenAt - lastAt);
    if (state.finish !== null) this.#close(running);
    if (due) running.listener(state);
  }

  #close({ state, schedulerId, life, delivers }: Running): void {
    this.#running.delete(state.rid);
    if (delivers) this.#undelivered.set(state, life);
    else this.#endLife(life);
    this.#scheduler.abort(schedulerId, 'finished by the front end'); // no effect if the scheduler finished it
    this.#observer?.finished(state);
    if (this.#running.size > 0) return;
    for (const wake of this.#idleWaiters) wake();
    this.#idleWaiters = [];
  }

  #endLife(life: RequestLife): void {
    this.tracer.point('requestEnds', life.id);
    this.tracer.close(life);
  }
}

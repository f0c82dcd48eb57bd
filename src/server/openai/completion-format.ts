// Outputs in the words of /v1/completions.
import type { RequestState } from '../../frontend/request-state.js';
import type { TokenizerManager } from '../../frontend/tokenizer-manager.js';
import { IncrementalDetokenizer } from '../../tokenizer/incremental-detokenizer.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { StreamFormat } from '../outputs.js';
import { finishFields, finishJson } from './finish-fields.js';
import { appendCompletionLogprobs, type CompletionLogprobs, emptyCompletionLogprobs, TextOffsets } from './logprobs.js';
import { usageOf } from './usage.js';

/** Per output: how much of it has been told. */
interface Progress {
  logprobs: number;
  readonly offsets: TextOffsets;
}

export interface CompletionReply {
  readonly id: string;
  /** As the client calls it: any name is accepted. */
  readonly model: string;
  /** Outputs per prompt. */
  readonly n: number;
  readonly echo: boolean;
  readonly logprobs: boolean;
  readonly continuousUsage: boolean;
  readonly includeUsage: boolean;
}

export class CompletionFormat implements StreamFormat {
  readonly dialect = 'openai';
  readonly #request: CompletionReply;
  readonly #manager: TokenizerManager;
  readonly #cacheReport: boolean;
  readonly #created = Math.floor(Date.now() / 1000);
  /** Outputs of which something has been told. */
  readonly #told = new Set<RequestState>();
  readonly #progress = new Map<RequestState, Progress>();
  readonly #head: string;

  constructor(request: CompletionReply, manager: TokenizerManager, cacheReport: boolean) {
    this.#request = request;
    this.#manager = manager;
    this.#cacheReport = cacheReport;
    const head = { id: request.id, object: 'text_completion', created: this.#created, model: request.model };
    this.#head = JSON.stringify(head).slice(0, -1);
  }

  response(states: readonly RequestState[]): object {
    return {
      id: this.#request.id,
      object: 'text_completion',
      created: this.#created,
      model: this.#request.model,
      choices: states.map((state, index) => {
        const echo = this.#echo(state);
        return { index, text: echo + state.text, logprobs: this.#logprobs(state), ...finishFields(state) };
      }),
      usage: usageOf(states, this.#request.n, this.#cacheReport),
    };
  }

  events(state: RequestState, index: number): readonly string[] {
    const { continuousUsage, logprobs } = this.#request;
    const first = !this.#told.has(state);
    this.#told.add(state);
    const told = this.#logprobs(state);
    const text = (first ? this.#echo(state) : '') + state.takeNewText();
    if (text === '' && state.finish === null && !logprobs && !continuousUsage) return [];
    const usage = continuousUsage ? JSON.stringify(usageOf([state], 1, this.#cacheReport)) : 'null';
    return [
      `${this.#head},"choices":[{"index":${index},"text":${JSON.stringify(text)},` +
        `"logprobs":${JSON.stringify(told)},${finishJson(state)}}],"usage":${usage}}`,
    ];
  }

  closing(states: readonly RequestState[]): readonly string[] {
    if (!this.#request.includeUsage) return [];
    const usage = JSON.stringify(usageOf(states, this.#request.n, this.#cacheReport));
    return [`${this.#head},"choices":[],"usage":${usage}}`];
  }

  /** The prompt, where it is to be part of the text. */
  #echo(state: RequestState): string {
    if (!this.#request.echo) return '';
    const { inputIds, sampling } = state.request;
    return this.#manager.needTokenizer('echo').decode(inputIds, sampling.skipSpecialTokens);
  }

  /** What was not told yet; null where none were asked for. */
  #logprobs(state: RequestState): CompletionLogprobs | null {
    if (!this.#request.logprobs) return null;
    const tokenizer = this.#manager.needTokenizer('logprobs');
    const result = emptyCompletionLogprobs();
    let progress = this.#progress.get(state);
    if (progress === undefined) {
      progress = { logprobs: 0, offsets: this.#offsets(state, tokenizer) };
      this.#progress.set(state, progress);
      if (state.inputLogprobs !== null) {
        appendCompletionLogprobs(result, state.inputLogprobs, 0, tokenizer, progress.offsets);
      }
    }
    const { outputLogprobs } = state;
    if (outputLogprobs === null) return result;
    appendCompletionLogprobs(result, outputLogprobs, progress.logprobs, tokenizer, progress.offsets);
    progress.logprobs = outputLogprobs.ids.length;
    return result;
  }

  #offsets({ request }: RequestState, tokenizer: Tokenizer): TextOffsets {
    const { skipSpecialTokens, spacesBetweenSpecialTokens } = request.sampling;
    return new TextOffsets(
      new IncrementalDetokenizer(tokenizer, {
        skipSpecialTokens,
        spacesBetweenSpecialTokens,
        precedingIds: this.#request.echo ? [] : request.inputIds,
      }),
    );
  }
}

// Outputs in the words of /v1/chat/completions.
import type { RequestState } from '../../frontend/request-state.js';
import type { TokenizerManager } from '../../frontend/tokenizer-manager.js';
import type { StreamFormat } from '../outputs.js';
import { finishFields, finishJson, NOT_FINISHED } from './finish-fields.js';
import { type ChatLogprobs, chatLogprobs } from './logprobs.js';
import { usageOf } from './usage.js';

export interface ChatReply {
  readonly id: string;
  readonly model: string;
  readonly n: number;
  readonly logprobs: boolean;
  readonly continuousUsage: boolean;
  readonly includeUsage: boolean;
}

export class ChatFormat implements StreamFormat {
  readonly dialect = 'openai';
  readonly #request: ChatReply;
  readonly #manager: TokenizerManager;
  readonly #cacheReport: boolean;
  readonly #created = Math.floor(Date.now() / 1000);
  /** Log-probabilities told per output. */
  readonly #told = new Map<RequestState, number>();
  readonly #head: string;

  constructor(request: ChatReply, manager: TokenizerManager, cacheReport: boolean) {
    this.#request = request;
    this.#manager = manager;
    this.#cacheReport = cacheReport;
    const head = { id: request.id, object: 'chat.completion.chunk', created: this.#created, model: request.model };
    this.#head = JSON.stringify(head).slice(0, -1);
  }

  response(states: readonly RequestState[]): object {
    return {
      id: this.#request.id,
      object: 'chat.completion',
      created: this.#created,
      model: this.#request.model,
      choices: states.map((state, index) => ({
        index,
        message: { role: 'assistant', content: state.text, reasoning_content: null, tool_calls: null },
        logprobs: this.#logprobs(state),
        ...finishFields(state),
      })),
      usage: usageOf(states, this.#request.n, this.#cacheReport),
    };
  }

  events(state: RequestState, index: number): readonly string[] {
    const { continuousUsage, logprobs } = this.#request;
    const usage = continuousUsage ? JSON.stringify(usageOf([state], 1, this.#cacheReport)) : 'null';
    const events: string[] = [];
    const add = (delta: string, told: ChatLogprobs | null, finish: string) => {
      const choice = `{"index":${index},"delta":${delta},"logprobs":${JSON.stringify(told)},${finish}}`;
      events.push(`${this.#head},"choices":[${choice}],"usage":${usage}}`);
    };
    if (!this.#told.has(state)) {
      this.#told.set(state, 0);
      add('{"role":"assistant","content":""}', null, NOT_FINISHED);
    }
    const text = state.takeNewText();
    const told = logprobs ? this.#logprobs(state) : null;
    const hasLogprobs = told !== null && told.content.length > 0;
    if (text !== '' || hasLogprobs || (continuousUsage && state.finish === null)) {
      add(`{"content":${JSON.stringify(text)}}`, told, NOT_FINISHED);
    }
    if (state.finish !== null) add('{}', null, finishJson(state));
    return events;
  }

  closing(states: readonly RequestState[]): readonly string[] {
    if (!this.#request.includeUsage) return [];
    const usage = JSON.stringify(usageOf(states, this.#request.n, this.#cacheReport));
    return [`${this.#head},"choices":[],"usage":${usage}}`];
  }

  /** What was not told yet; null where none were asked for. */
  #logprobs(state: RequestState): ChatLogprobs | null {
    const { outputLogprobs } = state;
    if (outputLogprobs === null) return null;
    const told = chatLogprobs(outputLogprobs, this.#told.get(state) ?? 0, this.#manager.needTokenizer('logprobs'));
    this.#told.set(state, outputLogprobs.ids.length);
    return told;
  }
}

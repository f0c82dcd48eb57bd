// One output in the words of /generate: cumulative text, output_ids and meta_info. Parts of the JSON that only grow are
// kept, so that a token costs what is new and not what has been.
import type { RequestState } from '../frontend/request-state.js';
import type { FinishReason, TokenLogprobs } from '../messages/outputs.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { unixSeconds } from '../util/clock.js';
import { GrowingText } from './growing-text.js';
import { escapeJson, type JsonParts, jsonNumber } from './json-text.js';
import { timingFields } from './timing-fields.js';

export interface NativeOutputOptions {
  /** null: no `text`. */
  readonly tokenizer: Tokenizer | null;
  /** `output_ids` hold only what is new in this event. */
  readonly disjointIds: boolean;
  readonly textInLogprobs: boolean;
  /** More keys in the last meta_info. */
  readonly timings: boolean;
}

export class NativeOutput {
  readonly #state: RequestState;
  readonly #options: NativeOutputOptions;
  /** `,"index":i}` in streams of several outputs. */
  readonly #tail: string;
  readonly #head: string;
  readonly #text = new GrowingText();
  readonly #ids = new GrowingText();
  #idCount = 0;
  readonly #input: LogprobJson;
  readonly #output: LogprobJson;

  constructor(state: RequestState, options: NativeOutputOptions, index: number | null) {
    this.#state = state;
    this.#options = options;
    this.#tail = index === null ? '}' : `,"index":${index}}`;
    this.#head = `"meta_info":{"id":${JSON.stringify(state.rid)},"finish_reason":`;
    this.#input = new LogprobJson('input', options);
    this.#output = new LogprobJson('output', options);
  }

  /** The JSON object for everything so far. */
  json(): JsonParts {
    const state = this.#state;
    const { tokenizer } = this.#options;
    if (tokenizer !== null) this.#text.append(escapeJson(state.takeNewText()));
    const text = tokenizer === null ? ['{'] : ['{"text":"', this.#text.bytes, '",'];
    return [
      ...text,
      '"output_ids":[',
      this.#outputIds(),
      `],${this.#head}${finishJson(state.finish)},` +
        `"prompt_tokens":${state.promptTokens},"weight_version":"default","total_retractions":${state.retractions},` +
        `${this.#logprobs()}"completion_tokens":${this.#idCount},"cached_tokens":${state.cachedTokens}` +
        `${this.#finalFields()}}${this.#tail}`,
    ];
  }

  #outputIds(): string | Uint8Array {
    const { tokenIds } = this.#state;
    const first = this.#idCount;
    this.#idCount = tokenIds.length;
    if (this.#options.disjointIds) return tokenIds.slice(first).join(',');
    for (let i = first; i < tokenIds.length; i++) this.#ids.append(i === 0 ? `${tokenIds[i]}` : `,${tokenIds[i]}`);
    return this.#ids.bytes;
  }

  #logprobs(): string {
    const { request, inputLogprobs, outputLogprobs } = this.#state;
    if (request.logprobs === null) return '';
    if (inputLogprobs !== null) this.#input.update(inputLogprobs);
    if (outputLogprobs !== null) this.#output.update(outputLogprobs);
    const withTop = request.logprobs.topCount > 0;
    const withWatched = request.logprobs.tokenIds.length > 0;
    return this.#input.json(withTop, withWatched) + this.#output.json(withTop, withWatched);
  }

  #finalFields(): string {
    const state = this.#state;
    if (state.finish === null) return '';
    const seconds = state.finishedAt - state.request.receivedAt;
    const timings = this.#options.timings ? timingFields(state) : '';
    return `,"e2e_latency":${jsonNumber(seconds)},"response_sent_to_client_ts":${unixSeconds()}${timings}`;
  }
}

/** The lists of one side (input or output), as far as they go. */
class LogprobJson {
  readonly #side: 'input' | 'output';
  readonly #tokenizer: Tokenizer | null;
  #count = 0;
  #tokens = '';
  #top = '';
  #watched = '';

  constructor(side: 'input' | 'output', { tokenizer, textInLogprobs }: NativeOutputOptions) {
    this.#side = side;
    this.#tokenizer = textInLogprobs ? tokenizer : null;
  }

  update({ ids, values, top, watched }: TokenLogprobs): void {
    for (; this.#count < ids.length; this.#count++) {
      const i = this.#count;
      const comma = i === 0 ? '' : ',';
      this.#tokens += comma + this.#entry(values[i]!, ids[i]!);
      this.#top += comma + this.#list(top[i] ?? null);
      this.#watched += comma + this.#list(watched[i] ?? null);
    }
  }

  json(withTop: boolean, withWatched: boolean): string {
    const side = this.#side;
    const top = withTop ? `"${side}_top_logprobs":[${this.#top}],` : '';
    const watched = withWatched ? `"${side}_token_ids_logprobs":[${this.#watched}],` : '';
    return `"${side}_token_logprobs":[${this.#tokens}],${top}${watched}`;
  }

  #list(pairs: readonly (readonly [number, number])[] | null): string {
    return pairs === null ? 'null' : `[${pairs.map(([id, value]) => this.#entry(value, id)).join(',')}]`;
  }

  #entry(value: number | null, id: number): string {
    const text = this.#tokenizer === null ? 'null' : JSON.stringify(this.#tokenizer.tokenText(id));
    return `[${jsonNumber(value)},${id},${text}]`;
  }
}

function finishJson(finish: FinishReason | null): string {
  if (finish === null) return 'null';
  if (finish.type !== 'abort') return JSON.stringify(finish);
  const { type, message, statusCode, errType } = finish;
  return JSON.stringify({ type, message, status_code: statusCode, err_type: errType });
}

// POST /v1/completions.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { FieldReader } from '../../frontend/field-reader.js';
import type { GenerateRequest, Prompt } from '../../frontend/generate-request.js';
import type { RequestState } from '../../frontend/request-state.js';
import type { TokenizerManager } from '../../frontend/tokenizer-manager.js';
import { IncrementalDetokenizer } from '../../tokenizer/incremental-detokenizer.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Lifecycle } from '../lifecycle.js';
import { collectOutputs, OutputStream, prepareAll, type StreamFormat } from '../outputs.js';
import type { ServedModel } from '../served-model.js';
import { appendCompletionLogprobs, type CompletionLogprobs, emptyCompletionLogprobs, TextOffsets } from './logprobs.js';
import { readOpenAiSampling, readStreamOptions, type StreamOptions } from './openai-sampling.js';
import { usageOf } from './usage.js';

interface CompletionRequest extends StreamOptions {
  readonly id: string;
  /** As the client calls it: any name is accepted. */
  readonly model: string;
  readonly requests: readonly GenerateRequest[];
  /** Outputs per prompt. */
  readonly n: number;
  readonly echo: boolean;
  readonly logprobs: boolean;
}

export interface OpenAiOptions {
  readonly enableCacheReport: boolean;
}

export function installCompletions(app: FastifyInstance, lifecycle: Lifecycle, options: OpenAiOptions): void {
  app.post('/v1/completions', async (http, reply) => {
    const { manager, model } = lifecycle.services();
    const request = parseRequest(http.body, manager, model);
    const prepared = await prepareAll(manager, request.requests);
    lifecycle.services(); // encoding may have taken long
    const format = new CompletionFormat(request, manager, options.enableCacheReport);
    if (request.stream) {
      OutputStream.start(reply, manager, prepared, format);
      return reply;
    }
    const states = await collectOutputs(reply, manager, prepared);
    return states === null ? reply.hijack() : reply.send(format.response(states));
  });
}

function parseRequest(body: unknown, manager: TokenizerManager, model: ServedModel): CompletionRequest {
  const fields = FieldReader.ofBody(body);
  const { vocabSize } = manager.info;
  manager.needTokenizer('prompt');
  fields.refuse('suffix');
  const sampling = readOpenAiSampling(fields, { vocabSize, model, maxTokensFields: ['max_tokens'] });
  const bestOf = fields.integer('best_of');
  if (bestOf !== undefined && bestOf !== sampling.n) {
    throw fields.invalid('best_of', `must equal n (${sampling.n}), got ${bestOf}`);
  }
  const echo = fields.boolean('echo') ?? false;
  const topCount = fields.integer('logprobs', { min: 0, max: vocabSize });
  const logprobs = topCount === undefined ? null : { startLen: echo ? 0 : -1, topCount, tokenIds: [] };
  const prompts = readPrompts(fields);
  const id = fields.string('rid') ?? `cmpl-${randomUUID().replaceAll('-', '')}`;
  return {
    ...readStreamOptions(fields),
    id,
    model: fields.string('model') ?? model.name,
    requests: prompts.map((prompt, i) => ({
      rid: prompts.length === 1 ? id : `${id}_${i}`,
      family: id,
      prompt,
      sampling,
      defaultMaxNewTokens: Number.POSITIVE_INFINITY,
      logprobs,
    })),
    n: sampling.n,
    echo,
    logprobs: logprobs !== null,
  };
}

/** A text, a list of texts, a list of ids, or a list of lists of ids. */
function readPrompts(fields: FieldReader): Prompt[] {
  const raw = fields.raw('prompt');
  if (typeof raw === 'string') return [{ text: raw, addSpecialTokens: true }];
  if (raw === undefined || (Array.isArray(raw) && raw.length === 0)) {
    throw new VitrineError('INVALID_REQUEST', 'Prompt cannot be empty', { param: 'prompt' });
  }
  if (!Array.isArray(raw)) throw fields.shape('prompt', 'must be a string or an array of strings or token ids', raw);
  if (typeof raw[0] === 'string') {
    return fields.strings('prompt')!.map((text) => ({ text, addSpecialTokens: true }));
  }
  if (!Array.isArray(raw[0])) return [{ inputIds: fields.integers('prompt')! }];
  return raw.map((ids: unknown, i) => {
    const key = `prompt[${i}]`;
    return { inputIds: new FieldReader({ [key]: ids }).integers(key) ?? [] };
  });
}

/** Per output: how much of it has been told. */
interface Progress {
  logprobs: number;
  readonly offsets: TextOffsets;
}

class CompletionFormat implements StreamFormat {
  readonly dialect = 'openai';
  readonly #request: CompletionRequest;
  readonly #manager: TokenizerManager;
  readonly #cacheReport: boolean;
  readonly #created = Math.floor(Date.now() / 1000);
  /** Outputs of which something has been told. */
  readonly #told = new Set<RequestState>();
  readonly #progress = new Map<RequestState, Progress>();
  readonly #head: string;

  constructor(request: CompletionRequest, manager: TokenizerManager, cacheReport: boolean) {
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
    const finish = state.finish === null ? NOT_FINISHED : JSON.stringify(finishFields(state)).slice(1, -1);
    const usage = continuousUsage ? JSON.stringify(usageOf([state], 1, this.#cacheReport)) : 'null';
    return [
      `${this.#head},"choices":[{"index":${index},"text":${JSON.stringify(text)},` +
        `"logprobs":${JSON.stringify(told)},${finish}}],"usage":${usage}}`,
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

const NOT_FINISHED = '"finish_reason":null,"matched_stop":null';

export function finishFields({ finish }: RequestState): { finish_reason: string | null; matched_stop: unknown } {
  return { finish_reason: finish?.type ?? null, matched_stop: finish?.type === 'stop' ? finish.matched : null };
}

// POST /v1/chat/completions.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { FieldReader } from '../../frontend/field-reader.js';
import type { GenerateRequest } from '../../frontend/generate-request.js';
import type { RequestState } from '../../frontend/request-state.js';
import type { TokenizerManager } from '../../frontend/tokenizer-manager.js';
import type { ChatMessage } from '../../tokenizer/chat-message.js';
import type { Lifecycle } from '../lifecycle.js';
import { collectOutputs, OutputStream, prepareAll, type StreamFormat } from '../outputs.js';
import type { ServedModel } from '../served-model.js';
import { finishFields, type OpenAiOptions } from './completions.js';
import { type ChatLogprobs, chatLogprobs } from './logprobs.js';
import { readOpenAiSampling, readStreamOptions, type StreamOptions } from './openai-sampling.js';
import { usageOf } from './usage.js';

interface ChatRequest extends StreamOptions {
  readonly id: string;
  readonly model: string;
  readonly request: GenerateRequest;
  readonly n: number;
  readonly logprobs: boolean;
}

/** OpenAI's own fields for what this server does not do. */
const UNSUPPORTED = ['tools', 'functions', 'audio', 'prediction', 'web_search_options', 'function_call'];
const MAX_TOKENS_FIELDS = ['max_completion_tokens', 'max_tokens'];

export function installChatCompletions(app: FastifyInstance, lifecycle: Lifecycle, options: OpenAiOptions): void {
  app.post('/v1/chat/completions', async (http, reply) => {
    const { manager, model } = lifecycle.services();
    const request = parseRequest(http.body, manager, model);
    const prepared = await prepareAll(manager, [request.request]);
    lifecycle.services(); // encoding may have taken long
    const format = new ChatFormat(request, manager, options.enableCacheReport);
    if (request.stream) {
      OutputStream.start(reply, manager, prepared, format);
      return reply;
    }
    const states = await collectOutputs(reply, manager, prepared);
    return states === null ? reply.hijack() : reply.send(format.response(states));
  });
}

function parseRequest(body: unknown, manager: TokenizerManager, model: ServedModel): ChatRequest {
  const fields = FieldReader.ofBody(body);
  const { vocabSize } = manager.info;
  for (const key of UNSUPPORTED) fields.refuse(key, ['none', 'auto']);
  fields.refuse('tool_choice', ['none', 'auto']);
  const modalities = fields.strings('modalities') ?? [];
  if (modalities.some((modality) => modality !== 'text')) {
    throw fields.invalid('modalities', `must be ["text"], got ${JSON.stringify(modalities)}`);
  }
  const messages = fields.raw('messages');
  if (!Array.isArray(messages)) throw fields.shape('messages', 'must be an array of messages', messages);
  const sampling = readOpenAiSampling(fields, { vocabSize, model, maxTokensFields: MAX_TOKENS_FIELDS });
  const logprobs = fields.boolean('logprobs') ?? false;
  const topCount = fields.integer('top_logprobs', { min: 0, max: vocabSize });
  if (topCount !== undefined && topCount > 0 && !logprobs) {
    throw fields.invalid('top_logprobs', 'needs logprobs to be true');
  }
  const reasoningEffort = fields.string('reasoning_effort');
  const text = manager.renderChat(messages as ChatMessage[], {
    extra: {
      ...(reasoningEffort === undefined ? {} : { reasoning_effort: reasoningEffort }),
      ...fields.object('chat_template_kwargs'),
    },
    continueFinalMessage: fields.boolean('continue_final_message') ?? false,
  });
  const id = fields.string('rid') ?? `chatcmpl-${randomUUID().replaceAll('-', '')}`;
  return {
    ...readStreamOptions(fields),
    id,
    model: fields.string('model') ?? model.name,
    request: {
      rid: id,
      prompt: { text, addSpecialTokens: false },
      sampling,
      defaultMaxNewTokens: Number.POSITIVE_INFINITY,
      logprobs: logprobs ? { startLen: -1, topCount: topCount ?? 0, tokenIds: [] } : null,
    },
    n: sampling.n,
    logprobs,
  };
}

class ChatFormat implements StreamFormat {
  readonly dialect = 'openai';
  readonly #request: ChatRequest;
  readonly #manager: TokenizerManager;
  readonly #cacheReport: boolean;
  readonly #created = Math.floor(Date.now() / 1000);
  /** Log-probabilities told per output. */
  readonly #told = new Map<RequestState, number>();
  readonly #head: string;

  constructor(request: ChatRequest, manager: TokenizerManager, cacheReport: boolean) {
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
    if (state.finish !== null) add('{}', null, JSON.stringify(finishFields(state)).slice(1, -1));
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

const NOT_FINISHED = '"finish_reason":null,"matched_stop":null';

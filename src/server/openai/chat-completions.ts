// POST /v1/chat/completions.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { FieldReader } from '../../frontend/field-reader.js';
import type { GenerateRequest } from '../../frontend/generate-request.js';
import type { TokenizerManager } from '../../frontend/tokenizer-manager.js';
import type { ChatMessage } from '../../tokenizer/chat-message.js';
import type { Lifecycle } from '../lifecycle.js';
import { collectOutputs, OutputStream, prepareAll } from '../outputs.js';
import type { ServedModel } from '../served-model.js';
import { ChatFormat, type ChatReply } from './chat-format.js';
import type { OpenAiOptions } from './completions.js';
import { readOpenAiSampling, readStreamOptions, type StreamOptions } from './openai-sampling.js';

interface ChatRequest extends StreamOptions, ChatReply {
  readonly request: GenerateRequest;
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

// POST /v1/completions.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { FieldReader } from '../../frontend/field-reader.js';
import type { GenerateRequest, Prompt } from '../../frontend/generate-request.js';
import type { TokenizerManager } from '../../frontend/tokenizer-manager.js';
import { VitrineError } from '../../util/errors.js';
import type { Lifecycle } from '../lifecycle.js';
import { collectOutputs, OutputStream, prepareAll } from '../outputs.js';
import type { ServedModel } from '../served-model.js';
import { CompletionFormat, type CompletionReply } from './completion-format.js';
import { readOpenAiSampling, readStreamOptions, type StreamOptions } from './openai-sampling.js';

interface CompletionRequest extends StreamOptions, CompletionReply {
  readonly requests: readonly GenerateRequest[];
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

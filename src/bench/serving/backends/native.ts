// SGLang's own route, POST /generate: text or token ids in; cumulative text and token counts out.
import type { JsonObject } from '../../../util/read-json.js';
import { errorText } from '../../http/error-text.js';
import { type AnswerReader, type Backend, failedPart, given, overlay } from './backend.js';
import { scanMembers } from './json-members.js';
import { optionalCount, optionalText, parseObject } from './read-values.js';

interface FinishReason {
  readonly type?: string;
  readonly message?: string;
}

export const nativeBackend: Backend = {
  path: '/generate',
  prompts: ['text', 'token ids'],
  countsTokens: true,
  reportsCache: true,
  answersWhole: true,
  namesEnd: true,

  payload(request, settings) {
    const prompt = typeof request.prompt === 'string' ? { text: request.prompt } : { input_ids: request.prompt };
    const payload = {
      ...prompt,
      sampling_params: {
        temperature: settings.temperature ?? 0,
        ...given('top_p', settings.topP),
        max_new_tokens: request.outputLen,
        ignore_eos: settings.ignoreEos,
      },
      stream: settings.stream,
      ...given('lora_path', request.lora),
      return_logprob: settings.returnLogprob,
      logprob_start_len: settings.logprobStartLen,
      ...given('top_logprobs_num', settings.topLogprobsNum),
      ...given('token_ids_logprob', settings.tokenIdsLogprob),
      ...(settings.returnRoutedExperts ? { return_routed_experts: true } : {}),
    };
    return overlay(payload, request, settings);
  },

  reader(): AnswerReader {
    return (payload) => {
      const { text, meta_info: metaInfo, error } = scanMembers(payload, EVENT_KEYS);
      if (error !== undefined && !error.equals(NULL)) return failedPart(errorText(JSON.parse(error.toString())));
      if (metaInfo === undefined) throw new Error('no meta_info in the answer');
      const meta = readMeta(metaInfo);
      const completionTokens = optionalCount('completion_tokens', meta.completion_tokens);
      const reason = (meta.finish_reason ?? null) as FinishReason | null;
      const tokens = completionTokens ?? 0;
      return {
        newText: '',
        // Decoding it in every event would take time quadratic in the length of the answer.
        wholeText: text === undefined ? undefined : () => optionalText('text', JSON.parse(text.toString())),
        // A server without a tokenizer sends no text at all.
        countsAsToken: text === undefined ? tokens > 0 : !isEmpty(text),
        carriesToken: tokens > 0,
        completionTokens,
        promptTokens: optionalCount('prompt_tokens', meta.prompt_tokens),
        cachedTokens: optionalCount('cached_tokens', meta.cached_tokens),
        finished: reason !== null,
        error: reason?.type === 'abort' ? `aborted: ${reason.message ?? 'no reason given'}` : undefined,
      };
    };
  },
};

const EVENT_KEYS = ['text', 'meta_info', 'error'] as const;
const META_KEYS = ['completion_tokens', 'prompt_tokens', 'cached_tokens', 'finish_reason'] as const;

/** Bytes; lists of log-probabilities, which repeat too, make it far longer. */
const USUAL_META = 2048;

function readMeta(meta: Buffer): JsonObject {
  if (meta.length <= USUAL_META) return parseObject(meta);
  const found = Object.entries(scanMembers(meta, META_KEYS));
  return Object.fromEntries(found.map(([key, value]) => [key, JSON.parse(value.toString())]));
}

/** Whether a JSON value is an empty text or null. */
function isEmpty(text: Buffer): boolean {
  return text.length === 2 || text.equals(NULL);
}

const NULL = Buffer.from('null');

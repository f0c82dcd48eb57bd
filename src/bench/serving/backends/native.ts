// SGLang's own route, POST /generate: text or token ids in; cumulative text and token counts out.
import { errorText } from '../../http/error-text.js';
import { type AnswerReader, type Backend, failedPart, given, overlay } from './backend.js';
import { scanMembers } from './json-members.js';
import { optionalCount, optionalText } from './read-values.js';

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
      const { text, meta_info: meta, error } = scanMembers(payload, EVENT_KEYS);
      if (error !== undefined) return failedPart(errorText(JSON.parse(error.toString())));
      if (meta === undefined) throw new Error('no meta_info in the answer');
      const members = scanMembers(meta, META_KEYS);
      const count = (name: keyof typeof members) =>
        members[name] === undefined ? undefined : optionalCount(name, JSON.parse(members[name].toString()));
      const completionTokens = count('completion_tokens');
      const { finish_reason: finish } = members;
      const reason = finish === undefined ? null : (JSON.parse(finish.toString()) as FinishReason | null);
      const tokens = completionTokens ?? 0;
      return {
        newText: '',
        // Decoding it in every event would take time quadratic in the length of the answer.
        ...(text === undefined ? {} : { wholeText: () => optionalText('text', JSON.parse(text.toString())) }),
        // A server without a tokenizer sends no text at all.
        countsAsToken: text === undefined ? tokens > 0 : !isEmpty(text),
        carriesToken: tokens > 0,
        ...given('completionTokens', completionTokens),
        ...given('promptTokens', count('prompt_tokens')),
        ...given('cachedTokens', count('cached_tokens')),
        finished: reason !== null,
        ...(reason?.type === 'abort' ? { error: `aborted: ${reason.message ?? 'no reason given'}` } : {}),
      };
    };
  },
};

const EVENT_KEYS = ['text', 'meta_info', 'error'] as const;
const META_KEYS = ['completion_tokens', 'prompt_tokens', 'cached_tokens', 'finish_reason'] as const;

/** Whether a JSON value is an empty text or null. */
function isEmpty(text: Buffer): boolean {
  return text.length === 2 || text.equals(NULL);
}

const NULL = Buffer.from('null');

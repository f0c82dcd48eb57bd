// SGLang's own route, POST /generate: text or token ids in; cumulative text and token counts out.

import { errorText } from '../../http/error-text.js';
import type { AnswerPart, AnswerReader, Backend } from './backend.js';

interface MetaInfo {
  readonly completion_tokens?: number;
  readonly prompt_tokens?: number;
  readonly finish_reason?: { readonly type?: string; readonly message?: string } | null;
}

export const nativeBackend: Backend = {
  path: '/generate',
  countsTokens: true,

  payload(request, settings) {
    const prompt = typeof request.prompt === 'string' ? { text: request.prompt } : { input_ids: request.prompt };
    return {
      ...prompt,
      sampling_params: {
        temperature: 0,
        max_new_tokens: request.outputLen,
        ignore_eos: settings.ignoreEos,
      },
      stream: settings.stream,
      return_logprob: settings.returnLogprob,
      logprob_start_len: -1,
      ...settings.extraBody,
    };
  },

  reader(): AnswerReader {
    let known = 0;
    return (event) => {
      if (event.error !== undefined) return failure(event.error);
      const { text, meta_info: meta } = event as { text?: string; meta_info?: MetaInfo };
      if (meta === undefined) throw new Error('no meta_info in the answer');
      const completionTokens = meta.completion_tokens ?? 0;
      const whole = text ?? '';
      const newText = whole.slice(known);
      known = Math.max(known, whole.length);
      const reason = meta.finish_reason ?? undefined;
      return {
        newText,
        // A server without a tokenizer sends no text at all.
        countsAsToken: text === undefined ? completionTokens > 0 : text !== '',
        carriesToken: completionTokens > 0,
        completionTokens,
        ...(meta.prompt_tokens === undefined ? {} : { promptTokens: meta.prompt_tokens }),
        finished: reason !== undefined,
        ...(reason?.type === 'abort' ? { error: `aborted: ${reason.message ?? 'no reason given'}` } : {}),
      };
    };
  },
};

function failure(error: unknown): AnswerPart {
  return { newText: '', countsAsToken: false, carriesToken: false, finished: true, error: errorText(error) };
}

// POST /v2/models/ensemble/generate_stream (trt): the generate extension of a Triton server with TensorRT-LLM's ensemble.
// Text in, text deltas out, without counts and without a word at the end.
import { errorText } from '../../http/error-text.js';
import type { Backend } from './backend.js';
import { failedPart, overlay } from './backend.js';
import { optionalText, parseObject } from './read-values.js';

/** Its sampler has no exact zero. */
const GREEDY_TEMPERATURE = 1e-6;
/** SGLang's token id that no vocabulary has: a model cannot end its answer with it. */
const NO_END_ID = 1048576;

export const trtBackend: Backend = {
  path: '/v2/models/ensemble/generate_stream',
  prompts: ['text'],
  countsTokens: false,
  reportsCache: false,
  answersWhole: false,
  namesEnd: false,

  payload(request, settings) {
    const payload = {
      accumulate_tokens: true,
      text_input: request.prompt,
      temperature: settings.temperature ?? GREEDY_TEMPERATURE,
      top_p: settings.topP ?? 1,
      max_tokens: request.outputLen,
      stream: true,
      ...(settings.ignoreEos ? { min_length: request.outputLen, end_id: NO_END_ID } : {}),
    };
    return overlay(payload, request, settings);
  },

  reader() {
    return (payload) => {
      const event = parseObject(payload);
      if ((event.error ?? null) !== null) return failedPart(errorText(event.error));
      if (event.text_output === undefined) throw new Error('no text_output in the answer');
      const newText = optionalText('text_output', event.text_output);
      // Each event is a token to SGLang, also one whose text is held back.
      return { newText, countsAsToken: true, carriesToken: true, finished: false };
    };
  },
};

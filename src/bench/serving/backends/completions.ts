// POST /v1/completions (sglang-oai, vllm): a prompt in, deltas of text out.
import type { Backend } from './backend.js';
import { readOpenAiAnswer, usageRequest } from './openai-answer.js';

interface CompletionChoice {
  readonly text?: string | null;
  readonly finish_reason?: string | null;
}

export const completionsBackend: Backend = {
  path: '/v1/completions',
  countsTokens: false,

  payload(request, settings) {
    return {
      model: settings.model,
      prompt: request.prompt,
      best_of: 1,
      max_tokens: request.outputLen,
      stream: settings.stream,
      temperature: 0,
      ignore_eos: settings.ignoreEos,
      ...usageRequest(settings.stream),
      ...settings.extraBody,
    };
  },

  reader() {
    return (event) =>
      readOpenAiAnswer<CompletionChoice>(event, ({ text, finish_reason: reason }) => ({
        text: text ?? '',
        // Tokens whose text is held back come as empty deltas; the event that only ends the stream carries none.
        otherToken: text === '' && (reason === null || reason === undefined),
      }));
  },
};

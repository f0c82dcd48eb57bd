// POST /v1/chat/completions (sglang-oai-chat, vllm-chat): one user message in, deltas of the answer out.
import { VitrineError } from '../../../util/errors.js';
import { isTokenIds } from '../../datasets/bench-request.js';
import type { Backend } from './backend.js';
import { readOpenAiAnswer, usageRequest } from './openai-answer.js';

interface ChatMessageDelta {
  readonly role?: string;
  readonly content?: string | null;
  readonly reasoning_content?: string | null;
}

interface ChatChoice {
  readonly delta?: ChatMessageDelta;
  readonly message?: ChatMessageDelta;
  readonly finish_reason?: string | null;
}

export const chatBackend: Backend = {
  path: '/v1/chat/completions',
  countsTokens: false,

  payload(request, settings) {
    const { prompt } = request;
    if (isTokenIds(prompt)) {
      throw new VitrineError('INVALID_OPTION', 'chat backends take text and no token ids', { param: '--backend' });
    }
    return {
      model: settings.model,
      messages: typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt,
      max_completion_tokens: request.outputLen,
      stream: settings.stream,
      temperature: 0,
      ignore_eos: settings.ignoreEos,
      ...usageRequest(settings.stream),
      ...settings.extraBody,
    };
  },

  reader() {
    return (event) =>
      readOpenAiAnswer<ChatChoice>(event, (choice) => {
        const said = choice.delta ?? choice.message ?? {};
        const text = said.content ?? '';
        // Reasoning is generated too, though SGLang's TTFT waits for the answer itself. An empty delta is a token whose
        // text is held back, unless it opens the message or ends it.
        const isReasoning = (said.reasoning_content ?? '') !== '';
        const isHeldBack = said.content === '' && said.role === undefined && (choice.finish_reason ?? null) === null;
        return { text, otherToken: isReasoning || isHeldBack };
      });
  },
};

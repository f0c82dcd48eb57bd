// POST /v1/chat/completions (sglang-oai-chat, vllm-chat, lmdeploy-chat): messages in, deltas of the answer out.
import type { Backend } from './backend.js';
import { overlay } from './backend.js';
import { readOpenAiAnswer, sharedFields, usageRequest } from './openai-answer.js';
import { optionalText } from './read-values.js';

interface ChatMessageDelta {
  readonly role?: string | null;
  readonly content?: string | null;
  readonly reasoning_content?: string | null;
}

interface ChatChoice {
  readonly delta?: ChatMessageDelta | null;
  readonly message?: ChatMessageDelta | null;
  readonly finish_reason?: string | null;
}

export const chatBackend: Backend = {
  path: '/v1/chat/completions',
  prompts: ['text', 'messages'],
  countsTokens: false,
  reportsCache: true,
  answersWhole: true,
  namesEnd: true,

  payload(request, settings) {
    const { prompt } = request;
    const payload = {
      ...sharedFields(request, settings),
      messages: typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt,
      max_completion_tokens: request.outputLen,
      ...usageRequest(settings.stream),
    };
    return overlay(payload, request, settings);
  },

  reader() {
    return (payload) =>
      readOpenAiAnswer<ChatChoice>(payload, (choice) => {
        const said = choice.delta ?? choice.message ?? {};
        const text = optionalText('content', said.content);
        // Reasoning is generated too, though SGLang's TTFT waits for the answer itself. An empty delta is a token whose
        // text is held back, unless it opens the message or ends it.
        const isReasoning = (said.reasoning_content ?? '') !== '';
        const isHeldBack = said.content === '' && !said.role && (choice.finish_reason ?? null) === null;
        return { text, otherToken: isReasoning || isHeldBack };
      });
  },
};

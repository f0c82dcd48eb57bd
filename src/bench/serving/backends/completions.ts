// POST /v1/completions (sglang-oai, vllm, lmdeploy) and servers that answer like it (truss): a prompt in, deltas of text out.
import type { Backend, PromptKind } from './backend.js';
import { overlay } from './backend.js';
import { readOpenAiAnswer, sharedFields, usageRequest } from './openai-answer.js';
import { optionalText } from './read-values.js';

interface CompletionChoice {
  readonly text?: string | null;
  readonly finish_reason?: string | null;
}

interface CompletionsSettings {
  readonly path: string;
  readonly prompts: readonly PromptKind[];
  /** Whether the server follows OpenAI in counting tokens and naming the end of a stream. */
  readonly isOpenAi: boolean;
}

function completions({ path, prompts, isOpenAi }: CompletionsSettings): Backend {
  return {
    path,
    prompts,
    countsTokens: false,
    reportsCache: isOpenAi,
    answersWhole: true,
    namesEnd: isOpenAi,

    payload(request, settings) {
      const payload = {
        ...sharedFields(request, settings),
        prompt: request.prompt,
        best_of: 1,
        max_tokens: request.outputLen,
        ...(isOpenAi ? usageRequest(settings.stream) : {}),
      };
      return overlay(payload, request, settings);
    },

    reader() {
      return (payload) =>
        readOpenAiAnswer<CompletionChoice>(payload, ({ text, finish_reason: reason }) => ({
          text: optionalText('text', text),
          // Tokens whose text is held back come as empty deltas; the event that only ends the stream carries none.
          otherToken: text === '' && (reason === null || reason === undefined),
        }));
    },
  };
}

const PATH = '/v1/completions';

export const completionsBackend = completions({ path: PATH, prompts: ['text', 'token ids'], isOpenAi: true });

/** A list is several prompts to it. */
export const textCompletionsBackend = completions({ path: PATH, prompts: ['text'], isOpenAi: true });

export const trussBackend = completions({ path: '/v1/models/model:predict', prompts: ['text'], isOpenAi: false });

// What the two OpenAI dialects share: usage, finish reasons and errors of an answer or of one event of a stream.

import { errorText } from '../../http/error-text.js';
import type { AnswerPart, JsonObject } from './backend.js';

interface Usage {
  readonly completion_tokens?: number;
  readonly prompt_tokens?: number;
}

interface Choice {
  readonly finish_reason?: string | null;
}

/** `readText` gives the new text of the choice, and whether the choice carries a token without text. */
export function readOpenAiAnswer<C extends Choice>(
  event: JsonObject,
  readText: (choice: C) => { text: string; otherToken: boolean },
): AnswerPart {
  if (event.error !== undefined && event.error !== null) return failed(errorText(event.error));
  if (event.object === 'error') return failed(errorText(event));
  const usage = (event.usage ?? {}) as Usage;
  const counts = {
    ...(usage.completion_tokens === undefined ? {} : { completionTokens: usage.completion_tokens }),
    ...(usage.prompt_tokens === undefined ? {} : { promptTokens: usage.prompt_tokens }),
  };
  if (!Array.isArray(event.choices)) throw new Error('no choices in the answer');
  const choice = event.choices[0] as C | undefined;
  // The last event of a stream with usage has no choices.
  if (choice === undefined) {
    return { newText: '', countsAsToken: false, carriesToken: false, finished: false, ...counts };
  }
  const { text, otherToken } = readText(choice);
  const reason = choice.finish_reason ?? undefined;
  return {
    newText: text,
    countsAsToken: text !== '',
    carriesToken: text !== '' || otherToken,
    finished: reason !== undefined,
    ...counts,
    ...(reason === 'abort' ? { error: 'aborted by the server' } : {}),
  };
}

function failed(error: string): AnswerPart {
  return { newText: '', countsAsToken: false, carriesToken: false, finished: true, error };
}

/** Asked for so that output lengths are the server's and not the requested ones. */
export function usageRequest(stream: boolean): JsonObject {
  return stream ? { stream_options: { include_usage: true } } : {};
}

// What the OpenAI dialects share: usage, finish reasons and errors of an answer or of one event of a stream; the fields of
// a payload that ask for them.
import type { JsonObject } from '../../../util/read-json.js';
import type { BenchRequest } from '../../datasets/bench-request.js';
import { errorText } from '../../http/error-text.js';
import { type AnswerPart, failedPart, given, type PayloadSettings } from './backend.js';
import { optionalCount, parseObject } from './read-values.js';

interface Choice {
  readonly finish_reason?: string | null;
}

/** `readText` gives the new text of the choice, and whether the choice carries a token without text. */
export function readOpenAiAnswer<C extends Choice>(
  payload: Buffer,
  readText: (choice: C) => { text: string; otherToken: boolean },
): AnswerPart {
  const event = parseObject(payload);
  if (event.error !== undefined && event.error !== null) return failedPart(errorText(event.error));
  if (event.object === 'error') return failedPart(errorText(event));
  const counts = readUsage(event.usage);
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
    error: reason === 'abort' ? 'aborted by the server' : undefined,
  };
}

/** Null in all events but the last, where the server sends it at all. */
function readUsage(usage: unknown): Pick<AnswerPart, 'completionTokens' | 'promptTokens' | 'cachedTokens'> {
  if (usage === undefined || usage === null) return {};
  const { completion_tokens: completion, prompt_tokens: prompt, prompt_tokens_details: details } = usage as JsonObject;
  return {
    completionTokens: optionalCount('completion_tokens', completion),
    promptTokens: optionalCount('prompt_tokens', prompt),
    cachedTokens: optionalCount('cached_tokens', (details as JsonObject | null | undefined)?.cached_tokens),
  };
}

/** Asked for so that output lengths are the server's and not the requested ones. */
export function usageRequest(stream: boolean): JsonObject {
  return stream ? { stream_options: { include_usage: true } } : {};
}

/** The fields that all OpenAI payloads share, but for those of the prompt and its length. */
export function sharedFields({ lora }: BenchRequest, settings: PayloadSettings): JsonObject {
  return {
    model: lora ?? settings.model,
    stream: settings.stream,
    temperature: settings.temperature ?? 0,
    ...given('top_p', settings.topP),
    ignore_eos: settings.ignoreEos,
    // vLLM goes by `model`, SGLang by this.
    ...given('lora_path', lora),
  };
}

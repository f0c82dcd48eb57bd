// Token counts in the words of the OpenAI API.
import type { RequestState } from '../../frontend/request-state.js';

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number } | null;
}

/** Of outputs in order, `n` for each prompt: a prompt counts once. */
export function usageOf(states: readonly RequestState[], n: number, cacheReport: boolean): Usage {
  let prompt = 0;
  let completion = 0;
  let cached = 0;
  states.forEach((state, index) => {
    completion += state.completionTokens;
    if (index % n !== 0) return;
    prompt += state.promptTokens;
    cached += state.cachedTokens;
  });
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: cacheReport ? { cached_tokens: cached } : null,
  };
}

// What fits: token ids inside the vocabulary, prompt and output inside the context and the KV cache.
import { VitrineError } from '../util/errors.js';

export interface PromptLimits {
  /** Tokens of prompt and output together. */
  readonly contextLength: number;
  /** KV capacity in tokens; one request cannot have more. */
  readonly maxTotalTokens: number;
  readonly vocabSize: number;
}

/** Most tokens that one request can have. */
export function capacityOf({ contextLength, maxTotalTokens }: PromptLimits): number {
  return Math.min(contextLength, maxTotalTokens);
}

/** The limit in words, for "longer than …". */
export function describeCapacity(limits: PromptLimits): string {
  const capacity = capacityOf(limits);
  return limits.maxTotalTokens < limits.contextLength
    ? `the KV cache's capacity (${capacity} tokens, less than the context length of ${limits.contextLength})`
    : `the model's context length (${capacity} tokens)`;
}

/** Errors: INVALID_REQUEST (empty, id outside the vocabulary), REQUEST_TOO_LONG. */
export function checkPrompt(ids: readonly number[], limits: PromptLimits, field: string): void {
  if (ids.length === 0) throw new VitrineError('INVALID_REQUEST', `${field}: the prompt is empty.`, { param: field });
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (Number.isInteger(id) && id >= 0 && id < limits.vocabSize) continue;
    const message = `${field}[${i}] must be a token id in [0, ${limits.vocabSize}), got ${id}.`;
    throw new VitrineError('INVALID_REQUEST', message, { param: field });
  }
}

/**
 * How many tokens may be generated: what was asked for, or refused with REQUEST_TOO_LONG; a default is cut to what fits.
 * A prompt that fills the context leaves no room for output and is refused too (unless no output is wanted).
 */
export function limitNewTokens(
  promptLength: number,
  wanted: number | undefined,
  byDefault: number,
  limits: PromptLimits,
): number {
  const room = capacityOf(limits) - promptLength;
  const what = describeCapacity(limits);
  if (room < 0 || (room === 0 && wanted !== 0)) {
    throw new VitrineError(
      'REQUEST_TOO_LONG',
      `The input (${promptLength} tokens) is longer than ${what}, of which the output needs at least one token.`,
      { param: 'max_new_tokens' },
    );
  }
  if (wanted === undefined) return Math.min(byDefault, room);
  if (wanted === Number.POSITIVE_INFINITY) return room;
  if (wanted > room) {
    throw new VitrineError(
      'REQUEST_TOO_LONG',
      `Requested token count exceeds ${what}: ${promptLength} tokens of input and ${wanted} max_new_tokens ` +
        `make ${promptLength + wanted}. Shorten the input or ask for at most ${room} new tokens.`,
      { param: 'max_new_tokens' },
    );
  }
  return wanted;
}

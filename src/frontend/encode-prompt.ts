// Prompt text → token ids, without spending a minute on a text that cannot fit.
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { VitrineError } from '../util/errors.js';
import { capacityOf, describeCapacity, type PromptLimits } from './prompt-limits.js';

/** Texts up to this many UTF-16 units are always encoded whole, so that errors can tell their exact length. */
const LONG_TEXT = 1 << 20;
/** More units than a token has on average in any text that people write. */
const UNITS_PER_TOKEN = 16;
/** Cutting a text changes the number of tokens in front of the cut by less than this. */
const CUT_MARGIN = 64;

/** Errors: INVALID_REQUEST (empty), REQUEST_TOO_LONG for a long text whose beginning alone does not fit. */
export async function encodePrompt(
  text: string,
  addSpecialTokens: boolean,
  tokenizer: Tokenizer,
  limits: PromptLimits,
): Promise<number[]> {
  if (text === '') throw new VitrineError('INVALID_REQUEST', 'The prompt is empty.', { param: 'text' });
  const capacity = capacityOf(limits);
  const enough = Math.max(LONG_TEXT, UNITS_PER_TOKEN * capacity);
  if (text.length > enough) {
    const beginning = await tokenizer.encode(text.slice(0, enough), addSpecialTokens);
    const atLeast = beginning.length - CUT_MARGIN;
    if (atLeast > capacity) {
      const message = `The input (at least ${atLeast} tokens) is longer than ${describeCapacity(limits)}.`;
      throw new VitrineError('REQUEST_TOO_LONG', message, { param: 'text' });
    }
  }
  return tokenizer.encode(text, addSpecialTokens);
}

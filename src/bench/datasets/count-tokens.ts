// Counts the tokens of many texts at once, on the tokenizer library's own threads.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';

/** As many as a server counts: with the special tokens that it adds. */
export function countPromptTokens(tokenizer: Tokenizer, prompts: readonly string[]): Promise<number[]> {
  return Promise.all(prompts.map(async (prompt) => (await tokenizer.encode(prompt, true)).length));
}

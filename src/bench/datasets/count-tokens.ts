// Counts the tokens of many texts, on the tokenizer library's own threads.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { inTurns } from './in-turns.js';

/** More than there are threads, and few enough that an interruption does not wait for long. */
const AT_ONCE = 16;

/** As many as a server counts: with the special tokens that it adds. Error: ABORTED (`signal`) */
export async function countPromptTokens(
  tokenizer: Tokenizer,
  prompts: readonly string[],
  signal?: AbortSignal,
): Promise<number[]> {
  const count = async (prompt: string) => (await tokenizer.encode(prompt, true)).length;
  const counts: number[] = [];
  for await (const from of inTurns(blockStarts(prompts.length), signal)) {
    counts.push(...(await Promise.all(prompts.slice(from, from + AT_ONCE).map(count))));
  }
  return counts;
}

function* blockStarts(length: number): Generator<number> {
  for (let from = 0; from < length; from += AT_ONCE) yield from;
}

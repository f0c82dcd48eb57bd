// Counts the tokens of generated texts after a run, when nothing is being timed any more.
import type { Tokenizer } from '../../../tokenizer/tokenizer.js';
import type { RequestRecord } from '../load/request-record.js';

/** Tokens of each record's text without special tokens; 0 for no text. */
export async function retokenize(tokenizer: Tokenizer, records: readonly RequestRecord[]): Promise<number[]> {
  const counts: number[] = [];
  for (const { text } of records) counts.push(await countTokens(tokenizer, text));
  return counts;
}

/** Tokens of the chunk after each gap, per record. */
export async function countGapTokens(tokenizer: Tokenizer, records: readonly RequestRecord[]): Promise<number[][]> {
  const counts: number[][] = [];
  for (const { gapTexts } of records) {
    const own: number[] = [];
    for (const text of gapTexts) own.push(await countTokens(tokenizer, text));
    counts.push(own);
  }
  return counts;
}

async function countTokens(tokenizer: Tokenizer, text: string): Promise<number> {
  return text === '' ? 0 : (await tokenizer.encode(text, false)).length;
}

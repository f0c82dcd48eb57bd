// A run and what was counted after it, when nothing was being timed any more: all that its figures are computed from.
import type { Tokenizer } from '../../../tokenizer/tokenizer.js';
import type { RunRecords } from '../load/request-record.js';
import { countGapTokens, retokenize } from './retokenize.js';

export interface MeasuredRun extends RunRecords {
  /** Tokens of each record's text, encoded again without special tokens; by position in `records`. */
  readonly retokenized: readonly number[];
  /** Mean accepted tokens per step under speculative decoding, if the server reports it. */
  readonly acceptLength: number | undefined;
  /** Tokens of `gapTexts` per record, for servers with an accept length; gaps are shared among them. */
  readonly gapTokens: readonly (readonly number[])[] | undefined;
}

/** `countsTokens`: the dialect names its token count in every chunk, so that gaps are shared already. */
export async function countTokens(
  run: RunRecords,
  tokenizer: Tokenizer,
  acceptLength: number | undefined,
  countsTokens: boolean,
): Promise<MeasuredRun> {
  const sharesGaps = acceptLength !== undefined && acceptLength > 0 && !countsTokens;
  return {
    ...run,
    retokenized: await retokenize(tokenizer, run.records),
    acceptLength,
    gapTokens: sharesGaps ? await countGapTokens(tokenizer, run.records) : undefined,
  };
}

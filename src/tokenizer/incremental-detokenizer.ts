// Token ids of one running request → text, as it grows. Runs on the event loop, in constant time per token.
import type { TokenStream } from './token-decoder.js';
import type { Tokenizer } from './tokenizer.js';

export interface DetokenizerOptions {
  readonly skipSpecialTokens: boolean;
  /**
   * No effect, as in SGLang: transformers puts spaces around special tokens only in tokenizers without a tokenizer.json,
   * and those are not supported. Part of the request all the same, so part of the interface.
   */
  readonly spacesBetweenSpecialTokens: boolean;
  /**
   * Tokens in front of the first pushed one (the prompt). Sentencepiece models write a word's space in front of it; the
   * space of the first pushed token is dropped only at the start of a text, so not if something precedes it.
   */
  readonly precedingIds?: readonly number[];
}

/**
 * The pieces returned by `push` and `flush`, joined, are `tokenizer.decode` of all ids. Bytes of an unfinished character
 * are held back, so that no U+FFFD appears for a character split over tokens. (One exception, in byte-fallback
 * vocabularies: see PieceStream.)
 */
export class IncrementalDetokenizer {
  readonly #stream: TokenStream;
  readonly #skipped: ReadonlySet<number>;

  constructor(tokenizer: Tokenizer, { skipSpecialTokens, precedingIds = [] }: DetokenizerOptions) {
    this.#skipped = skipSpecialTokens ? tokenizer.specialIds : new Set();
    this.#stream = tokenizer.stream(!precedingIds.some((id) => !this.#skipped.has(id)));
  }

  /** Text that became complete with this token; often ''. */
  push(id: number): string {
    return this.#skipped.has(id) ? '' : this.#stream.push(id);
  }

  /** The end of the text: what was held back, as U+FFFD. */
  flush(): string {
    return this.#stream.flush();
  }
}

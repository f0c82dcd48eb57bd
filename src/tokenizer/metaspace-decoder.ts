// Decoder "Metaspace" (sentencepiece Unigram models): ▁ is a space, but nothing in the first token.
import type { TokenDecoder, TokenStream } from './token-decoder.js';
import type { Vocabulary } from './vocabulary.js';

export class MetaspaceDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #mark: string;
  readonly #keepFirst: boolean;

  /** `keepFirst`: the mark is a space in the first token too (prepend_scheme "never"). */
  constructor(vocabulary: Vocabulary, mark: string, keepFirst: boolean) {
    this.#vocabulary = vocabulary;
    this.#mark = mark;
    this.#keepFirst = keepFirst;
  }

  decode(ids: readonly number[]): string {
    const stream = this.stream(true);
    return ids.map((id) => stream.push(id)).join('');
  }

  stream(atStart: boolean): TokenStream {
    let first = atStart && !this.#keepFirst;
    const push = (id: number): string => {
      const text = this.#vocabulary.storedText(id);
      if (text === undefined) return '';
      const space = first ? '' : ' ';
      first = false;
      return text.replaceAll(this.#mark, space);
    };
    return { push, flush: () => '' };
  }
}

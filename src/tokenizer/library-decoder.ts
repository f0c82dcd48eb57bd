// Decoders without tables of ours: the library's own, called synchronously; and none at all.
import type { Decoder } from 'tokenizers';
import type { TokenDecoder, TokenStream } from './token-decoder.js';
import type { Vocabulary } from './vocabulary.js';

const REPLACEMENT_CHARACTER = '\ufffd';

/** A window that still ends in a replacement character after so many tokens really has one. */
const MAX_HELD_TOKENS = 8;

/** WordPiece, BPEDecoder, CTC, regular expressions, …: any decoder of the library. */
export class LibraryDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #library: Decoder;

  constructor(vocabulary: Vocabulary, library: Decoder) {
    this.#vocabulary = vocabulary;
    this.#library = library;
  }

  decode(ids: readonly number[]): string {
    const tokens = ids.map((id) => this.#vocabulary.storedText(id)).filter((text) => text !== undefined);
    return tokens.length === 0 ? '' : this.#library.decode(tokens);
  }

  stream(): TokenStream {
    return new WindowStream(this);
  }
}

/** Decodes the last tokens again with each new one and returns what the text grew by. */
class WindowStream implements TokenStream {
  readonly #decoder: TokenDecoder;
  /** Tokens whose text was returned already; they give the new ones their context. */
  #context: number[] = [];
  #held: number[] = [];

  constructor(decoder: TokenDecoder) {
    this.#decoder = decoder;
  }

  push(id: number): string {
    this.#held.push(id);
    const text = this.#heldText();
    const incomplete = text === '' || text.endsWith(REPLACEMENT_CHARACTER);
    return incomplete && this.#held.length < MAX_HELD_TOKENS ? '' : this.#release(text);
  }

  flush(): string {
    return this.#held.length === 0 ? '' : this.#release(this.#heldText());
  }

  #heldText(): string {
    const before = this.#decoder.decode(this.#context);
    return this.#decoder.decode([...this.#context, ...this.#held]).slice(before.length);
  }

  #release(text: string): string {
    this.#context = this.#held;
    this.#held = [];
    return text;
  }
}

/** A tokenizer without a decoder: tokens joined by spaces. */
export class JoinDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  decode(ids: readonly number[]): string {
    const stream = this.stream(true);
    return ids.map((id) => stream.push(id)).join('');
  }

  stream(atStart: boolean): TokenStream {
    let first = atStart;
    const push = (id: number): string => {
      const text = this.#vocabulary.storedText(id);
      if (text === undefined) return '';
      const space = first ? '' : ' ';
      first = false;
      return space + text;
    };
    return { push, flush: () => '' };
  }
}

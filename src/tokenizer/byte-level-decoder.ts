// Decoder "ByteLevel" (GPT-2, Llama 3, Qwen, DeepSeek, …): each character of a token stands for one byte of the text.
import type { TokenDecoder, TokenStream } from './token-decoder.js';
import { incompleteTail } from './utf8.js';
import type { Vocabulary } from './vocabulary.js';

/** GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards. */
function byteOfCharacter(): Int16Array {
  const table = new Int16Array(256 + 68).fill(-1);
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    table[printable ? byte : next++] = byte;
  }
  return table;
}

export class ByteLevelDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #byteOf = byteOfCharacter();

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  decode(ids: readonly number[]): string {
    let room = 0;
    for (const id of ids) room += this.maxBytes(id);
    const bytes = Buffer.allocUnsafe(room);
    let length = 0;
    for (const id of ids) length = this.writeToken(id, bytes, length);
    return bytes.toString('utf8', 0, length);
  }

  stream(): TokenStream {
    return new ByteLevelStream(this);
  }

  /** Most bytes that `writeToken` writes for this id. */
  maxBytes(id: number): number {
    return 3 * (this.#vocabulary.storedText(id)?.length ?? 0);
  }

  /** Writes the token's bytes at `at`; returns where they end. */
  writeToken(id: number, target: Buffer, at: number): number {
    const text = this.#vocabulary.storedText(id);
    if (text === undefined) return at;
    for (let i = 0; i < text.length; i++) {
      const byte = this.#byteOf[text.charCodeAt(i)] ?? -1;
      // One character outside the alphabet (an added token) makes the whole token plain text.
      if (byte < 0) return at + target.write(text, at, 'utf8');
      target[at + i] = byte;
    }
    return at + text.length;
  }
}

class ByteLevelStream implements TokenStream {
  readonly #decoder: ByteLevelDecoder;
  /** Held-back bytes come first, then the token's. */
  #bytes = Buffer.allocUnsafe(64);
  #held = 0;

  constructor(decoder: ByteLevelDecoder) {
    this.#decoder = decoder;
  }

  push(id: number): string {
    const room = this.#held + this.#decoder.maxBytes(id);
    if (room > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * room);
      this.#bytes.copy(larger, 0, 0, this.#held);
      this.#bytes = larger;
    }
    const length = this.#decoder.writeToken(id, this.#bytes, this.#held);
    const tail = incompleteTail(this.#bytes, length);
    const text = this.#bytes.toString('utf8', 0, length - tail);
    this.#bytes.copyWithin(0, length - tail, length);
    this.#held = tail;
    return text;
  }

  flush(): string {
    const text = this.#bytes.toString('utf8', 0, this.#held);
    this.#held = 0;
    return text;
  }
}

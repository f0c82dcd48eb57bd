// Decoder sequence Replace, ByteFallback, Fuse, Strip (sentencepiece models: Llama 1 and 2, Mistral, Gemma, …): tokens are
// text with ▁ for the space; a character outside the vocabulary is spelled by byte tokens <0xNN>.
import type { TokenDecoder, TokenStream } from './token-decoder.js';
import { classifySequence } from './utf8.js';
import type { Vocabulary } from './vocabulary.js';

export interface PieceRules {
  readonly replacements: readonly { readonly from: string; readonly to: string }[];
  readonly byteFallback: boolean;
  /** Up to `count` times `content` is cut from the start of the whole text. */
  readonly strip: { readonly content: string; readonly count: number } | null;
}

const REPLACEMENT_CHARACTER = '\ufffd';
const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

export class PieceDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #rules: PieceRules;

  constructor(vocabulary: Vocabulary, rules: PieceRules) {
    this.#vocabulary = vocabulary;
    this.#rules = rules;
  }

  decode(ids: readonly number[]): string {
    const parts: string[] = [];
    const run: number[] = [];
    for (const id of ids) {
      const piece = this.piece(id);
      if (typeof piece === 'number') {
        run.push(piece);
      } else if (piece !== undefined) {
        if (run.length > 0) parts.push(decodeRun(run));
        run.length = 0;
        parts.push(piece);
      }
    }
    if (run.length > 0) parts.push(decodeRun(run));
    return new LeadingStrip(this.#rules.strip).strip(parts.join(''));
  }

  stream(atStart: boolean): TokenStream {
    return new PieceStream(this, new LeadingStrip(atStart ? this.#rules.strip : null));
  }

  /** The token's text, or its byte, or undefined for an id without a token. */
  piece(id: number): string | number | undefined {
    let text = this.#vocabulary.storedText(id);
    if (text === undefined) return undefined;
    for (const { from, to } of this.#rules.replacements) text = text.replaceAll(from, () => to);
    const byte = this.#rules.byteFallback && text.length === 6 ? BYTE_TOKEN.exec(text) : null;
    return byte === null ? text : Number.parseInt(byte[1]!, 16);
  }
}

/** As in the library: one byte out of place makes every byte of its run a replacement character. */
function decodeRun(run: readonly number[]): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(run));
  } catch {
    return REPLACEMENT_CHARACTER.repeat(run.length);
  }
}

/** Cuts the start of a text that may come in parts. */
class LeadingStrip {
  readonly #content: string;
  #left: number;

  constructor(rule: PieceRules['strip']) {
    this.#content = rule?.content ?? '';
    this.#left = rule?.count ?? 0;
  }

  strip(text: string): string {
    let rest = text;
    while (this.#left > 0 && rest !== '') {
      if (rest.startsWith(this.#content)) {
        rest = rest.slice(this.#content.length);
        this.#left--;
      } else {
        this.#left = 0;
      }
    }
    return rest;
  }
}

/**
 * Byte tokens are emitted as soon as they make a whole character: waiting for the end of the run would hold back every
 * newline (<0x0A> in these vocabularies) by a token. So a run that goes wrong after whole characters keeps these, where
 * `decode` turns the whole run into replacement characters; from the wrong byte on the two agree.
 */
class PieceStream implements TokenStream {
  readonly #decoder: PieceDecoder;
  readonly #leading: LeadingStrip;
  readonly #held = Buffer.alloc(4);
  #heldLength = 0;
  #runIsBroken = false;

  constructor(decoder: PieceDecoder, leading: LeadingStrip) {
    this.#decoder = decoder;
    this.#leading = leading;
  }

  push(id: number): string {
    const piece = this.#decoder.piece(id);
    if (piece === undefined) return '';
    return this.#leading.strip(typeof piece === 'number' ? this.#pushByte(piece) : this.#endRun() + piece);
  }

  flush(): string {
    return this.#leading.strip(this.#endRun());
  }

  #pushByte(byte: number): string {
    if (this.#runIsBroken) return REPLACEMENT_CHARACTER;
    this.#held[this.#heldLength++] = byte;
    const state = classifySequence(this.#held, this.#heldLength);
    if (state === 'incomplete') return '';
    const length = this.#heldLength;
    this.#heldLength = 0;
    if (state === 'complete') return this.#held.toString('utf8', 0, length);
    this.#runIsBroken = true;
    return REPLACEMENT_CHARACTER.repeat(length);
  }

  #endRun(): string {
    const text = REPLACEMENT_CHARACTER.repeat(this.#heldLength);
    this.#heldLength = 0;
    this.#runIsBroken = false;
    return text;
  }
}

// Makes text of a wanted number of tokens out of whole words of a tokenizer's vocabulary: text that encodes back to as
// many tokens as it was made of, so that prompt lengths are exact without any dataset.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { Random } from '../random.js';
import { inTurns } from './in-turns.js';

const MOST_WORDS = 2048;
const MOST_CORRECTIONS = 8;

export class VocabularyText {
  readonly #tokenizer: Tokenizer;
  readonly #words: readonly number[];
  readonly #random: Random;

  private constructor(tokenizer: Tokenizer, words: readonly number[], random: Random) {
    this.#tokenizer = tokenizer;
    this.#words = words;
    this.#random = random;
  }

  static async create(tokenizer: Tokenizer, seed: number, signal?: AbortSignal): Promise<VocabularyText> {
    const words = await findWords(tokenizer, new Random(seed, 'vocabulary words'), signal);
    return new VocabularyText(tokenizer, words, new Random(seed, 'vocabulary text'));
  }

  /**
   * A text and the ids it encodes to (without special tokens): `length` of them, or a few more or less with a tokenizer
   * whose words do not stay whole.
   */
  async next(length: number): Promise<{ text: string; ids: readonly number[] }> {
    const made = Array.from({ length }, () => this.#word());
    let text = this.#tokenizer.decode(made, true);
    let ids = await this.#tokenizer.encode(text, false);
    for (let i = 0; i < MOST_CORRECTIONS && ids.length !== length; i++) {
      if (ids.length > length) made.length = Math.max(1, made.length - (ids.length - length));
      else for (let missing = length - ids.length; missing > 0; missing--) made.push(this.#word());
      text = this.#tokenizer.decode(made, true);
      ids = await this.#tokenizer.encode(text, false);
    }
    return { text, ids };
  }

  /** A text of `length` words that is not encoded again: of as many tokens with most tokenizers, but nobody has looked. */
  draft(length: number): string {
    const made = Array.from({ length }, () => this.#word());
    return this.#tokenizer.decode(made, true);
  }

  #word(): number {
    return this.#words[this.#random.integer(0, this.#words.length - 1)]!;
  }
}

/** Tokens that are a space and letters, and that come back whole in the middle of a text. */
async function findWords(tokenizer: Tokenizer, random: Random, signal: AbortSignal | undefined): Promise<number[]> {
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  const words: number[] = [];
  for await (const id of inTurns(random.shuffle(ids), signal)) {
    if (words.length === MOST_WORDS) break;
    if (tokenizer.specialIds.has(id)) continue;
    const text = tokenizer.tokenText(id);
    if (!/^ \p{L}+$/u.test(text)) continue;
    // Some tokenizers put a space of their own before a text, hence the two: the last one stands inside.
    const encoded = await tokenizer.encode(`${text}${text}`, false);
    if (encoded.at(-1) === id && encoded.at(-2) === id) words.push(id);
  }
  // A vocabulary of bytes or characters alone: any token that is printable will do.
  return words.length > 0 ? words : ids.filter((id) => /^[\p{L} ]+$/u.test(tokenizer.tokenText(id)));
}

// Token texts by id and which ids are special, as tokenizer.json states them.
import { VitrineError } from '../util/errors.js';
import { isJsonObject, type JsonObject } from '../util/read-json.js';

export class Vocabulary {
  readonly #texts: (string | undefined)[] = [];
  readonly #special = new Set<number>();

  /** `file`: the parsed tokenizer.json; `source`: its path, for messages. */
  constructor(file: JsonObject, source: string) {
    const model = file.model;
    const vocab = isJsonObject(model) ? model.vocab : undefined;
    if (isJsonObject(vocab)) {
      for (const [text, id] of Object.entries(vocab)) this.#texts[id as number] = text;
    } else if (Array.isArray(vocab)) {
      // Unigram: [text, score] pairs; the id is the place in the list.
      for (const [id, pair] of vocab.entries()) this.#texts[id] = (pair as [string, number])[0];
    } else {
      throw new VitrineError('TOKENIZER_INVALID', `${source} has no vocabulary (model.vocab).`);
    }
  }

  addToken(id: number, text: string, special: boolean): void {
    this.#texts[id] = text;
    if (special) this.#special.add(id);
  }

  /** As stored (`Ġhello`, `▁hello`, `<0x0A>`), or undefined for an id without a token. */
  storedText(id: number): string | undefined {
    return this.#texts[id];
  }

  /** Every id is below it. */
  get size(): number {
    return this.#texts.length;
  }

  get specialIds(): ReadonlySet<number> {
    return this.#special;
  }
}

// Reads the elements of a JSON array file one by one. ShareGPT is larger than the longest string of V8, so the file is cut
// at the commas of its top level and each element is parsed on its own.
import { createReadStream } from 'node:fs';
import { toError, VitrineError } from '../../util/errors.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/** An element as parsed, or the error of parsing it. */
export type JsonElement = { readonly value: unknown } | { readonly error: string };

/** @throws VitrineError INVALID_OPTION when the file cannot be read, is no array, or ends inside it */
export async function* readJsonArray(path: string, flag: string): AsyncGenerator<JsonElement> {
  const scanner = new ArrayScanner();
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) yield* scanner.push(chunk as Buffer);
    scanner.end();
  } catch (thrown) {
    const message = `${flag} ${path}: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag, cause: thrown });
  }
}

class ArrayScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #ended = false;
  #atStart = true;
  /** Parts of the element that earlier chunks held. */
  #pieces: Buffer[] = [];

  *push(chunk: Buffer): Generator<JsonElement> {
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (this.#depth === 0) {
        if (this.#outside(byte)) from = at + 1;
      } else if (byte === QUOTE) {
        this.#inString = true;
      } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
        this.#depth += 1;
      } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
        this.#depth -= 1;
        if (this.#depth === 0) {
          if (byte !== CLOSE_ARRAY) throw new Error('expected a JSON array of rows');
          this.#ended = true;
          yield* this.#element(chunk.subarray(from, at));
        }
      } else if (byte === COMMA && this.#depth === 1) {
        yield* this.#element(chunk.subarray(from, at));
        from = at + 1;
      }
    }
    if (this.#depth > 0) this.#pieces.push(chunk.subarray(from));
  }

  end(): void {
    if (!this.#ended) throw new Error(this.#atStart ? 'the file is empty' : 'the file ends inside the JSON array');
  }

  /** A byte before or after the array; true for the bracket that opens it. */
  #outside(byte: number): boolean {
    // 0xef 0xbb 0xbf: a byte-order mark.
    const ignored = isSpace(byte) || (this.#atStart && (byte === 0xef || byte === 0xbb || byte === 0xbf));
    if (ignored) return false;
    if (byte !== OPEN_ARRAY || this.#ended) throw new Error('expected a JSON array of rows');
    this.#atStart = false;
    this.#depth = 1;
    return true;
  }

  *#element(last: Buffer): Generator<JsonElement> {
    const text = Buffer.concat([...this.#pieces, last]).toString();
    this.#pieces = [];
    if (text.trim() === '') return;
    try {
      yield { value: JSON.parse(text) };
    } catch (thrown) {
      yield { error: toError(thrown).message };
    }
  }
}

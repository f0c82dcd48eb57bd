// Reads the lines of a JSONL file one by one, each parsed on its own.
import { createReadStream } from 'node:fs';
import { toError, VitrineError } from '../../util/errors.js';
import type { JsonElement } from './json-array.js';

const NEWLINE = 0x0a;

/** Empty lines are no rows. @throws VitrineError INVALID_OPTION when the file cannot be read */
export async function* readJsonLines(path: string, flag: string): AsyncGenerator<JsonElement> {
  // Not readline: it also ends a line at U+2028, which JSON allows inside a string.
  let pieces: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      const bytes = chunk as Buffer;
      let from = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
        yield* parseLine([...pieces, bytes.subarray(from, end)]);
        pieces = [];
        from = end + 1;
      }
      pieces.push(bytes.subarray(from));
    }
  } catch (thrown) {
    const message = `${flag} ${path}: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag, cause: thrown });
  }
  yield* parseLine(pieces);
}

function* parseLine(pieces: readonly Buffer[]): Generator<JsonElement> {
  // trim() also takes the byte-order mark off the first line.
  const text = Buffer.concat(pieces).toString().trim();
  if (text === '') return;
  try {
    yield { value: JSON.parse(text) };
  } catch (thrown) {
    yield { error: toError(thrown).message };
  }
}

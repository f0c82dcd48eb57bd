// Server-sent events from the chunks of a response. Works on bytes, so a chunk may end anywhere: inside a line, between the
// two bytes of a line end, in the middle of a character.

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const DATA = Buffer.from('data:');

/**
 * Calls `onData` with the payload of every `data:` line, as a view of the chunk. Lines are not joined to events: payloads are JSON, which has no
 * raw line ends, and servers exist that leave out the blank line between events.
 */
export class SseParser {
  readonly #onData: (payload: Buffer) => void;
  /** The line that has not ended yet, in pieces: each byte is searched once and copied once. */
  #pieces: Buffer[] = [];

  constructor(onData: (payload: Buffer) => void) {
    this.#onData = onData;
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#line(chunk.subarray(from, end));
      from = end + 1;
    }
    if (from < chunk.length) this.#pieces.push(chunk.subarray(from));
  }

  /** The stream has ended: what is left is a line of its own. */
  end(): void {
    if (this.#pieces.length > 0) this.#line(Buffer.alloc(0));
  }

  #line(last: Buffer): void {
    let line = last;
    if (this.#pieces.length > 0) {
      line = Buffer.concat([...this.#pieces, last]);
      this.#pieces = [];
    }
    const length = line.length > 0 && line[line.length - 1] === RETURN ? line.length - 1 : line.length;
    if (length < DATA.length || line.compare(DATA, 0, DATA.length, 0, DATA.length) !== 0) return;
    const from = line[DATA.length] === SPACE ? DATA.length + 1 : DATA.length;
    if (length > from) this.#onData(line.subarray(from, length));
  }
}

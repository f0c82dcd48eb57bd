// The list of events of a trace file while it is written: what stands between them, and how many there are.
import type { TextBuffer } from './text-buffer.js';

const COMMA = 0x2c;
const NEWLINE = 0x0a;

export class EventList {
  /** Events begun. */
  length = 0;
  readonly #text: TextBuffer;

  constructor(text: TextBuffer) {
    this.#text = text;
  }

  /** Starts an event, whose text the caller puts into the buffer returned. */
  begin(): TextBuffer {
    const text = this.#text;
    if (this.length++ > 0) text.byte(COMMA);
    text.byte(NEWLINE);
    return text;
  }

  /** Adds an event given as text. */
  add(event: string): void {
    this.begin().string(event);
  }
}

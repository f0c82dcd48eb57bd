// The list of events of a trace file while it is written: what stands between them, and how many there are.
import { encodeText, type TextBuffer } from './text-buffer.js';

const FIRST = encodeText('\n');
const NEXT = encodeText(',\n');

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
    text.fragment(this.length++ === 0 ? FIRST : NEXT);
    return text;
  }

  /** Adds an event given as text. */
  add(event: string): void {
    this.begin().string(event);
  }
}

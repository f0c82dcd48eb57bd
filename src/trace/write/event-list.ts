// The list of events of a trace file while it is written: what stands between them, and how many there are.
import { encodeText, type TextBuffer } from './text-buffer.js';

/** Some tenth of a millisecond of work. */
const EVENTS_PER_TURN = 256;
const FIRST = encodeText('\n');
const NEXT = encodeText(',\n');

export class EventList {
  /** Events begun. */
  length = 0;
  readonly #text: TextBuffer;
  readonly #giveWay: () => void;

  /** `giveWay` is called every EVENTS_PER_TURN events. */
  constructor(text: TextBuffer, giveWay: () => void = () => {}) {
    this.#text = text;
    this.#giveWay = giveWay;
  }

  /** Starts an event, whose text the caller puts into the buffer returned. */
  begin(): TextBuffer {
    if (this.length % EVENTS_PER_TURN === 0) this.#giveWay();
    const text = this.#text;
    text.fragment(this.length++ === 0 ? FIRST : NEXT);
    return text;
  }

  /** Adds an event given as text. */
  add(event: string): void {
    this.begin().string(event);
  }
}

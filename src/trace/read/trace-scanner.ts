// Reads a Chrome trace as it streams in: hands out events one by one and the other top-level members whole. Accepts
// both forms of the format, an object with `traceEvents` (anywhere among its members) and a bare array of events.
import { isUtf8 } from 'node:buffer';
import { EventFields, type FieldPath } from './event-fields.js';
import { INCOMPLETE, JsonCursor, JsonSyntaxError } from './json-cursor.js';

/** Why a trace cannot be read, as a part of a sentence: "it is cut off after 12 events". */
export class TraceDamage extends Error {}

export interface TraceHandler {
  /** One event; `fields` and its buffer are valid during the call only. */
  event(fields: EventFields): void;
  /** A top-level member other than traceEvents; `text` is valid JSON. */
  member(key: string, text: string): void;
}

/** Largest event or top-level member, and all of a file's top-level members: what a file may make the reader hold. */
const MAX_VALUE_BYTES = 64 << 20;
const MAX_MEMBER_BYTES = 64 << 20;
const BYTE_ORDER_MARK = Buffer.of(0xef, 0xbb, 0xbf);
const QUOTE = 0x22;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** Offset before the last character that starts with a lead byte: it may be cut. */
function lastWholeCharacter(buffer: Buffer): number {
  let at = buffer.length;
  while (at > 0 && buffer.length - at < 3 && (buffer[at - 1]! & 0xc0) === 0x80) at--;
  return at > 0 && buffer[at - 1]! >= 0xc0 ? at - 1 : buffer.length;
}

type State = 'start' | 'first key' | 'key' | 'after member' | 'first event' | 'event' | 'after event' | 'done';

/** push() … end(). Both throw TraceDamage; nothing is handed out after that. */
export class TraceScanner {
  readonly fields: EventFields;
  /** Events handed out. */
  events = 0;
  /** Events whose text was not UTF-8 and was repaired. */
  repaired = 0;
  readonly #handler: TraceHandler;
  readonly #cursor = new JsonCursor();
  #state: State = 'start';
  #bare = false;
  #hasEvents = false;
  /** What the last push could not finish; looked at again once it has grown to `#retryAt`. */
  #rest: Buffer = Buffer.alloc(0);
  #held: Buffer[] = [];
  #heldBytes = 0;
  #retryAt = 0;
  #consumed = 0;
  #memberBytes = 0;
  /** The text at hand is UTF-8, so no event of it needs a look of its own. */
  #isText = true;

  constructor(handler: TraceHandler, fields: readonly FieldPath[]) {
    this.#handler = handler;
    this.fields = new EventFields(fields, this.#cursor);
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes < this.#retryAt) return;
    this.#scan();
    // A long value is looked at again only when there is twice as much of it, so the work stays linear.
    this.#retryAt = Math.min(2 * this.#rest.length, MAX_VALUE_BYTES + 1);
    if (this.#rest.length > MAX_VALUE_BYTES) {
      throw new TraceDamage(`one value is longer than ${MAX_VALUE_BYTES >> 20} MiB`);
    }
  }

  end(): void {
    this.#scan();
    if (this.#consumed === 0 && this.#rest.length === 0) throw new TraceDamage('it is empty');
    if (this.#state !== 'done') throw new TraceDamage(`it is cut off after ${this.events} events`);
    if (!this.#hasEvents) throw new TraceDamage('it has no list of traceEvents');
  }

  #scan(): void {
    const buffer = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held);
    this.#cursor.buffer = buffer;
    this.#cursor.end = buffer.length;
    this.#isText = isUtf8(buffer.subarray(0, lastWholeCharacter(buffer)));
    let at = 0;
    try {
      for (;;) {
        const space = this.#cursor.skipSpace(at);
        if (space >= buffer.length) {
          at = space;
          break;
        }
        const next = this.#step(space);
        if (next === INCOMPLETE) break;
        at = next;
      }
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      throw new TraceDamage(`it is not JSON: ${error.message}, at byte ${this.#consumed + error.at}`);
    }
    this.#consumed += at;
    this.#rest = buffer.subarray(at);
    this.#held = this.#rest.length === 0 ? [] : [this.#rest];
    this.#heldBytes = this.#rest.length;
  }

  /** Takes one token, event or member; `at` is on no white space. Returns the offset after it. */
  #step(at: number): number {
    const c = this.#cursor.buffer[at]!;
    switch (this.#state) {
      case 'start':
        if (c === BYTE_ORDER_MARK[0] && this.#consumed + at === 0) return this.#skipByteOrderMark();
        this.#bare = c === OPEN_BRACKET;
        if (c !== OPEN_BRACE && c !== OPEN_BRACKET) throw new JsonSyntaxError('neither { nor [ at the start', at);
        this.#hasEvents = this.#bare;
        this.#state = this.#bare ? 'first event' : 'first key';
        return at + 1;
      case 'first key':
        return c === CLOSE_BRACE ? this.#to('done', at + 1) : this.#member(at);
      case 'key':
        return this.#member(at);
      case 'after member':
        if (c === CLOSE_BRACE) return this.#to('done', at + 1);
        if (c !== COMMA) throw new JsonSyntaxError('neither a comma nor } after a member', at);
        return this.#to('key', at + 1);
      case 'first event':
        return c === CLOSE_BRACKET ? this.#endOfEvents(at) : this.#event(at);
      case 'event':
        return this.#event(at);
      case 'after event':
        if (c === CLOSE_BRACKET) return this.#endOfEvents(at);
        if (c !== COMMA) throw new JsonSyntaxError('neither a comma nor ] after an event', at);
        return this.#to('event', at + 1);
      case 'done':
        throw new JsonSyntaxError('something after the end', at);
    }
  }

  /** Editors of some systems put it before the text. */
  #skipByteOrderMark(): number {
    const { buffer } = this.#cursor;
    if (buffer.length < BYTE_ORDER_MARK.length) return INCOMPLETE;
    if (!buffer.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK))
      throw new JsonSyntaxError('neither { nor [ at the start', 0);
    return BYTE_ORDER_MARK.length;
  }

  #to(state: State, at: number): number {
    this.#state = state;
    return at;
  }

  #endOfEvents(at: number): number {
    return this.#to(this.#bare ? 'done' : 'after member', at + 1);
  }

  #event(at: number): number {
    const { fields } = this;
    if (this.#cursor.buffer[at] !== OPEN_BRACE) throw new JsonSyntaxError('an event that is no object', at);
    const end = fields.parse(at);
    if (end === INCOMPLETE) return INCOMPLETE;
    if (!this.#isText && fields.repair()) this.repaired++;
    this.events++;
    this.#handler.event(fields);
    return this.#to('after event', end);
  }

  #member(at: number): number {
    const cursor = this.#cursor;
    const { buffer } = cursor;
    if (buffer[at] !== QUOTE) throw new JsonSyntaxError('a member without a quoted key', at);
    const keyEnd = cursor.skipString(at);
    if (keyEnd === INCOMPLETE) return INCOMPLETE;
    const colon = cursor.skipSpace(keyEnd);
    if (colon >= buffer.length) return INCOMPLETE;
    if (buffer[colon] !== COLON) throw new JsonSyntaxError('a key without a colon after it', colon);
    const value = cursor.skipSpace(colon + 1);
    if (value >= buffer.length) return INCOMPLETE;
    const key = JSON.parse(buffer.toString('utf8', at, keyEnd)) as string;
    if (key === 'traceEvents') {
      if (buffer[value] !== OPEN_BRACKET) throw new JsonSyntaxError('traceEvents that are no list', value);
      if (this.#hasEvents) throw new JsonSyntaxError('a second list of traceEvents', value);
      this.#hasEvents = true;
      return this.#to('first event', value + 1);
    }
    const end = cursor.skipValue(value, 1);
    if (end === INCOMPLETE) return INCOMPLETE;
    this.#memberBytes += end - at;
    if (this.#memberBytes > MAX_MEMBER_BYTES)
      throw new TraceDamage(`its top-level members are longer than ${MAX_MEMBER_BYTES >> 20} MiB`);
    this.#handler.member(key, buffer.toString('utf8', value, end));
    return this.#to('after member', end);
  }
}

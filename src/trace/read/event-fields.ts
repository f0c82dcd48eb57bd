// Where the interesting members of one trace event lie in its text, so that they can be read or replaced without
// touching the rest. One object is reused for all events.
import { isUtf8 } from 'node:buffer';
import { parseMicroseconds } from '../trace-event.js';
import { INCOMPLETE, type JsonCursor, type MemberVisitor } from './json-cursor.js';

/** A member by its path in the event: `pid`, or `args.correlation`. */
export type FieldPath = string;

interface KnownKey {
  readonly bytes: Buffer;
  readonly index: number;
}

/** Known keys by length, then by bytes. */
class KeyTable {
  readonly #byLength: KnownKey[][] = [];

  add(key: string, index: number): void {
    const bytes = Buffer.from(key);
    while (this.#byLength.length <= bytes.length) this.#byLength.push([]);
    this.#byLength[bytes.length]!.push({ bytes, index });
  }

  /** Index of the key that lies at [start, end), or -1. */
  find(buffer: Buffer, start: number, end: number): number {
    const length = end - start;
    if (length >= this.#byLength.length) return -1;
    const candidates = this.#byLength[length]!;
    for (let c = 0; c < candidates.length; c++) {
      const { bytes, index } = candidates[c]!;
      let i = 0;
      while (i < length && buffer[start + i] === bytes[i]) i++;
      if (i === length) return index;
    }
    return -1;
  }
}

/** Paths are numbered in the order given; `args.x` is looked up one level down. */
export class EventFields {
  /** The text, after a successful parse(): [start, end) of `buffer`. */
  buffer: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** For field i: value offsets at 2i and 2i + 1; -1 where the event has none. */
  readonly #offsets: Int32Array;
  readonly #keys = new KeyTable();
  readonly #argKeys = new KeyTable();
  readonly #argsIndex: number;
  readonly #wanted: boolean;
  readonly #cursor: JsonCursor;

  constructor(paths: readonly FieldPath[], cursor: JsonCursor) {
    this.#cursor = cursor;
    this.#offsets = new Int32Array(2 * paths.length);
    paths.forEach((path, index) => {
      if (path.startsWith('args.')) this.#argKeys.add(path.slice(5), index);
      else this.#keys.add(path, index);
    });
    this.#argsIndex = paths.length;
    this.#wanted = paths.length > 0;
    this.#keys.add('args', this.#argsIndex);
  }

  /**
   * Reads the event that starts at `at` of the cursor's buffer. Returns the offset after it, or INCOMPLETE.
   * Throws JsonSyntaxError. As in JSON.parse, the last of equal keys counts (of two `args`, both are looked into).
   */
  parse(at: number): number {
    const cursor = this.#cursor;
    this.#offsets.fill(-1);
    const end = this.#wanted ? cursor.skipObject(at, 1, this.#visitMember, this.#descend) : cursor.skipObject(at, 1);
    if (end === INCOMPLETE) return INCOMPLETE;
    this.buffer = cursor.buffer;
    this.start = at;
    this.end = end;
    return end;
  }

  /** Bytes that are no UTF-8 become U+FFFD, as every text decoder would have it. True where there were any. */
  repair(): boolean {
    const bytes = this.buffer.subarray(this.start, this.end);
    if (isUtf8(bytes)) return false;
    const cursor = this.#cursor;
    const { buffer, end } = cursor;
    cursor.buffer = Buffer.from(bytes.toString('utf8'));
    cursor.end = cursor.buffer.length;
    this.parse(0);
    cursor.buffer = buffer;
    cursor.end = end;
    return true;
  }

  has(field: number): boolean {
    return this.#offsets[2 * field]! >= 0;
  }

  valueStart(field: number): number {
    return this.#offsets[2 * field]!;
  }

  valueEnd(field: number): number {
    return this.#offsets[2 * field + 1]!;
  }

  /** The field's JSON text; '' where it is absent. */
  raw(field: number): string {
    const start = this.#offsets[2 * field]!;
    return start < 0 ? '' : this.buffer.toString('utf8', start, this.#offsets[2 * field + 1]!);
  }

  /** Byte `offset` of the field's JSON text; 0 where there is none. */
  byteAt(field: number, offset: number): number {
    const at = this.#offsets[2 * field]! + offset;
    return at < offset || at >= this.#offsets[2 * field + 1]! ? 0 : this.buffer[at]!;
  }

  /** The field as a whole number of at most 13 digits, in quotes or not; -1 where it is anything else. */
  plainInteger(field: number): number {
    let start = this.#offsets[2 * field]!;
    let end = this.#offsets[2 * field + 1]!;
    if (start < 0) return -1;
    if (this.buffer[start] === 0x22) {
      start++;
      end--;
    }
    if (end <= start || end - start > 13) return -1;
    let value = 0;
    for (let at = start; at < end; at++) {
      const digit = this.buffer[at]! - 0x30;
      if (digit < 0 || digit > 9) return -1;
      value = value * 10 + digit;
    }
    return value;
  }

  /** The field, a JSON number in microseconds in quotes or not, in ns; NaN where it is anything else. */
  nanoseconds(field: number): number {
    const raw = this.raw(field);
    return parseMicroseconds(raw.startsWith('"') ? raw.slice(1, -1) : raw);
  }

  /** The field's JSON text is `bytes`. */
  equals(field: number, bytes: Uint8Array): boolean {
    const start = this.#offsets[2 * field]!;
    if (start < 0 || this.#offsets[2 * field + 1]! - start !== bytes.length) return false;
    for (let i = 0; i < bytes.length; i++) if (this.buffer[start + i] !== bytes[i]) return false;
    return true;
  }

  readonly #visitMember = (keyStart: number, keyEnd: number, escaped: boolean, start: number, end: number): void => {
    const index = this.#find(this.#keys, keyStart, keyEnd, escaped);
    if (index < 0 || index === this.#argsIndex) return;
    this.#offsets[2 * index] = start;
    this.#offsets[2 * index + 1] = end;
  };

  readonly #visitArgument = (keyStart: number, keyEnd: number, escaped: boolean, start: number, end: number): void => {
    const index = this.#find(this.#argKeys, keyStart, keyEnd, escaped);
    if (index < 0) return;
    this.#offsets[2 * index] = start;
    this.#offsets[2 * index + 1] = end;
  };

  readonly #descend = (keyStart: number, keyEnd: number, escaped: boolean): MemberVisitor | undefined =>
    this.#find(this.#keys, keyStart, keyEnd, escaped) === this.#argsIndex ? this.#visitArgument : undefined;

  #find(table: KeyTable, start: number, end: number, escaped: boolean): number {
    const { buffer } = this.#cursor;
    if (!escaped) return table.find(buffer, start, end);
    const key = Buffer.from(JSON.parse(buffer.toString('utf8', start - 1, end + 1)) as string);
    return table.find(key, 0, key.length);
  }
}

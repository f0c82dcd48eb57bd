// UTF-8 text as it is put together, byte by byte and without strings: what is said millions of times, numbers above all,
// leaves no garbage. Runs on the thread that writes the file.
import { invariant } from '../util/errors.js';
import { formatMicroseconds } from './trace-event.js';

/** Up to this many bytes a loop is faster than making a view to copy from. */
const SHORT_COPY = 160;
/** More than any number takes: a sign, 16 digits and a point; 20 digits of 64 bits; 25 characters of a double. */
const NUMBER_ROOM = 32;
const TWO_32 = 4_294_967_296;
const BILLION = 1_000_000_000;
const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
/** The three digits of every number below 1000. */
const DIGITS = new Uint8Array(3000);
for (let n = 0; n < 1000; n++) {
  DIGITS[3 * n] = ZERO + Math.floor(n / 100);
  DIGITS[3 * n + 1] = ZERO + (Math.floor(n / 10) % 10);
  DIGITS[3 * n + 2] = ZERO + (n % 10);
}

/**
 * Text for fragment(), encoded once. All of it has the class that a TextBuffer uses itself: V8 copies between typed
 * arrays of one class, Buffer, several times faster than between those of two.
 */
export function encodeText(text: string): Buffer {
  return Buffer.from(text, 'utf8');
}

/** `value`, below 1000, as three digits. */
function putThree(bytes: Uint8Array, at: number, value: number): void {
  const digit = 3 * value;
  bytes[at] = DIGITS[digit]!;
  bytes[at + 1] = DIGITS[digit + 1]!;
  bytes[at + 2] = DIGITS[digit + 2]!;
}

/** `value`, a whole number from 0 to 999 999 999, without leading zeros; returns where its text ends. */
function putShort(bytes: Uint8Array, at: number, value: number): number {
  let end = at;
  let head = value;
  if (value >= 1_000_000) head = (value / 1_000_000) | 0;
  else if (value >= 1000) head = (value / 1000) | 0;
  const digit = 3 * head;
  if (head >= 100) bytes[end++] = DIGITS[digit]!;
  if (head >= 10) bytes[end++] = DIGITS[digit + 1]!;
  bytes[end++] = DIGITS[digit + 2]!;
  if (value < 1000) return end;
  const rest = value >= 1_000_000 ? value - head * 1_000_000 : value;
  const thousands = (rest / 1000) | 0;
  if (value >= 1_000_000) {
    putThree(bytes, end, thousands);
    end += 3;
  }
  putThree(bytes, end, rest - thousands * 1000);
  return end + 3;
}

export class TextBuffer {
  readonly #bytes: Buffer;
  readonly #capacity: number;
  readonly #drain: (bytes: Uint8Array) => void;
  #length = 0;

  /** `drain` takes the text, in pieces of up to `capacity` bytes that may end anywhere; it keeps no reference to them. */
  constructor(capacity: number, drain: (bytes: Uint8Array) => void) {
    invariant(capacity >= SHORT_COPY, `a text buffer of ${capacity} bytes is too small`);
    this.#bytes = Buffer.allocUnsafe(capacity);
    this.#capacity = capacity;
    this.#drain = drain;
  }

  /** Bytes that wait for the drain. */
  get length(): number {
    return this.#length;
  }

  flush(): void {
    const length = this.#length;
    if (length === 0) return;
    this.#drain(this.#bytes.subarray(0, length));
    this.#length = 0;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#length = 0;
  }

  byte(code: number): void {
    this.#bytes[this.#reserve(1)] = code;
    this.#length++;
  }

  /** All of what encodeText() returned. */
  fragment(source: Buffer): void {
    const length = source.length;
    if (length > SHORT_COPY) {
      this.bytes(source);
      return;
    }
    const at = this.#reserve(length);
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) bytes[at + i] = source[i]!;
    this.#length = at + length;
  }

  bytes(source: Uint8Array, start = 0, end = source.length): void {
    for (let at = start; at < end; ) {
      if (this.#length === this.#capacity) this.flush();
      const length = Math.min(this.#capacity - this.#length, end - at);
      if (length <= SHORT_COPY) {
        const bytes = this.#bytes;
        for (let i = 0; i < length; i++) bytes[this.#length + i] = source[at + i]!;
      } else {
        this.#bytes.set(source.subarray(at, at + length), this.#length);
      }
      this.#length += length;
      at += length;
    }
  }

  string(text: string): void {
    // Three bytes a unit is the most that UTF-8 takes.
    const most = text.length * 3;
    if (most > this.#capacity) {
      this.bytes(Buffer.from(text, 'utf8'));
      return;
    }
    const at = this.#reserve(most);
    this.#length = at + this.#bytes.write(text, at, 'utf8');
  }

  /** As String(value) of a whole number, |value| < 2^53. */
  integer(value: number): void {
    let at = this.#reserve(NUMBER_ROOM);
    const bytes = this.#bytes;
    let size = value;
    if (value < 0) {
      bytes[at++] = MINUS;
      size = -value;
    }
    if (size < BILLION) {
      this.#length = putShort(bytes, at, size | 0);
      return;
    }
    const billions = Math.floor(size / BILLION);
    const rest = (size - billions * BILLION) | 0;
    at = putShort(bytes, at, billions | 0);
    const millions = (rest / 1_000_000) | 0;
    const units = rest - millions * 1_000_000;
    const thousands = (units / 1000) | 0;
    putThree(bytes, at, millions);
    putThree(bytes, at + 3, thousands);
    putThree(bytes, at + 6, units - thousands * 1000);
    this.#length = at + 9;
  }

  /** Whole nanoseconds, from 0, as microseconds with exactly three decimals. */
  microseconds(ns: number): void {
    if (ns > Number.MAX_SAFE_INTEGER) {
      this.string(formatMicroseconds(ns));
      return;
    }
    let at = this.#reserve(NUMBER_ROOM);
    const bytes = this.#bytes;
    const seconds = Math.floor(ns / BILLION);
    const rest = (ns - seconds * BILLION) | 0;
    const micros = (rest / 1000) | 0;
    if (seconds === 0) {
      at = putShort(bytes, at, micros);
    } else {
      at = putShort(bytes, at, seconds | 0);
      const millis = (micros / 1000) | 0;
      putThree(bytes, at, millis);
      putThree(bytes, at + 3, micros - millis * 1000);
      at += 6;
    }
    bytes[at] = POINT;
    putThree(bytes, at + 1, rest - micros * 1000);
    this.#length = at + 4;
  }

  /** An unsigned number of 64 bits, from its halves, of either sign. */
  uint64(low: number, high: number): void {
    const top = high >>> 0;
    if (top < 1 << 21) this.integer(top * TWO_32 + (low >>> 0));
    else this.string(String((BigInt(top) << 32n) | BigInt(low >>> 0)));
  }

  /** A signed number of 64 bits, from its halves, of either sign. */
  int64(low: number, high: number): void {
    const top = high | 0;
    if (top >= -(1 << 21) && top < 1 << 21) this.integer(top * TWO_32 + (low >>> 0));
    else this.string(String((BigInt(top) << 32n) | BigInt(low >>> 0)));
  }

  /** A JSON value that says `value`; JSON has no NaN and no infinity, so those are strings. */
  number(value: number): void {
    if (Number.isSafeInteger(value)) this.integer(value);
    else this.string(Number.isFinite(value) ? String(value) : JSON.stringify(String(value)));
  }

  /** Makes room for so many bytes; returns where they go. */
  #reserve(bytes: number): number {
    if (bytes > this.#capacity - this.#length) this.flush();
    return this.#length;
  }
}

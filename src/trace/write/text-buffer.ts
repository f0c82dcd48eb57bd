// UTF-8 text as it is put together, byte by byte and without strings: what is said millions of times, numbers above all,
// leaves no garbage. Runs on the thread that writes the file.
import { invariant } from '../../util/errors.js';
import { formatMicroseconds } from '../trace-event.js';

/** Up to this many bytes a loop is faster than making a view to copy from. */
const SHORT_COPY = 160;
/** More than any number takes: a sign, 16 digits and a point; 20 digits of 64 bits; 25 characters of a double. */
const NUMBER_ROOM = 32;
/** A fragment is copied in words of so many bytes, the last of which may reach beyond its end. */
const WORD_BYTES = Float64Array.BYTES_PER_ELEMENT;
const TWO_32 = 4_294_967_296;
const BILLION = 1_000_000_000;
const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;

/** What is written for each number below 1000: four bytes, the first one lowest. */
function fourBytes(bytesOf: (hundreds: number, tens: number, ones: number) => readonly number[]): Int32Array {
  const table = new Int32Array(1000);
  for (let n = 0; n < 1000; n++) {
    const bytes = bytesOf(ZERO + Math.floor(n / 100), ZERO + (Math.floor(n / 10) % 10), ZERO + (n % 10));
    for (const [i, byte] of bytes.entries()) table[n]! |= byte << (8 * i);
  }
  return table;
}
const THREE_DIGITS = fourBytes((hundreds, tens, ones) => [hundreds, tens, ones]);
const POINT_AND_THREE_DIGITS = fourBytes((hundreds, tens, ones) => [POINT, hundreds, tens, ones]);
const DIGITS = fourBytes((hundreds, tens, ones) => {
  if (hundreds > ZERO) return [hundreds, tens, ones];
  return tens > ZERO ? [tens, ones] : [ones];
});

/** Text that is written many times: see encodeText(). */
export interface TextFragment {
  /**
   * Its bytes, eight in a number, with zeros after the last. Copying them so takes a quarter of the time of single bytes.
   * A number that is not one (NaN) might be changed on the way, but UTF-8 never holds one: its last two bytes would be
   * 0xf0 or more and then 0x7f or 0xff.
   */
  readonly words: Float64Array;
  /** In bytes. */
  readonly length: number;
}

export function encodeText(text: string): TextFragment {
  const bytes = Buffer.from(text, 'utf8');
  const words = new Float64Array(Math.ceil(bytes.length / WORD_BYTES));
  new Uint8Array(words.buffer).set(bytes);
  return { words, length: bytes.length };
}

export function decodeText({ words, length }: TextFragment): string {
  return Buffer.from(words.buffer, words.byteOffset, length).toString('utf8');
}

/** `value`, below 1000, without leading zeros; returns where its text ends. */
function putDigits(view: DataView, at: number, value: number): number {
  view.setInt32(at, DIGITS[value]!, true);
  return at + (value < 10 ? 1 : value < 100 ? 2 : 3);
}

/** `value`, below a million, as six digits; returns where its text ends. */
function putSix(view: DataView, at: number, value: number): number {
  const thousands = (value / 1000) | 0;
  view.setInt32(at, THREE_DIGITS[thousands]!, true);
  view.setInt32(at + 3, THREE_DIGITS[value - thousands * 1000]!, true);
  return at + 6;
}

/** `value`, a whole number below a billion, without leading zeros; returns where its text ends. */
function putShort(view: DataView, at: number, value: number): number {
  if (value < 1000) return putDigits(view, at, value);
  if (value < 1_000_000) {
    const thousands = (value / 1000) | 0;
    const end = putDigits(view, at, thousands);
    view.setInt32(end, THREE_DIGITS[value - thousands * 1000]!, true);
    return end + 3;
  }
  const millions = (value / 1_000_000) | 0;
  return putSix(view, putDigits(view, at, millions), value - millions * 1_000_000);
}

export class TextBuffer {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #capacity: number;
  readonly #drain: (bytes: Uint8Array) => void;
  #length = 0;

  /** `drain` takes the text, in pieces of up to `capacity` bytes that may end anywhere; it keeps no reference to them. */
  constructor(capacity: number, drain: (bytes: Uint8Array) => void) {
    invariant(capacity >= SHORT_COPY, `a text buffer of ${capacity} bytes is too small`);
    const memory = new ArrayBuffer(capacity + WORD_BYTES);
    this.#bytes = Buffer.from(memory);
    this.#view = new DataView(memory);
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
    const at = this.#reserve(1);
    this.#view.setUint8(at, code);
    this.#length = at + 1;
  }

  fragment({ words, length }: TextFragment): void {
    if (length > this.#capacity) {
      this.bytes(new Uint8Array(words.buffer, words.byteOffset, length));
      return;
    }
    const at = this.#reserve(length);
    const view = this.#view;
    for (let i = 0; i < words.length; i++) view.setFloat64(at + i * WORD_BYTES, words[i]!, true);
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
    const view = this.#view;
    let size = value;
    if (value < 0) {
      view.setUint8(at++, MINUS);
      size = -value;
    }
    if (size < BILLION) {
      this.#length = putShort(view, at, size | 0);
      return;
    }
    const billions = Math.floor(size / BILLION);
    const rest = (size - billions * BILLION) | 0;
    const millions = (rest / 1_000_000) | 0;
    at = putShort(view, at, billions | 0);
    view.setInt32(at, THREE_DIGITS[millions]!, true);
    this.#length = putSix(view, at + 3, rest - millions * 1_000_000);
  }

  /** Whole nanoseconds, from 0, as microseconds with exactly three decimals. */
  microseconds(ns: number): void {
    if (ns > Number.MAX_SAFE_INTEGER) {
      this.string(formatMicroseconds(ns));
      return;
    }
    let at = this.#reserve(NUMBER_ROOM);
    const view = this.#view;
    const seconds = Math.floor(ns / BILLION);
    const rest = (ns - seconds * BILLION) | 0;
    const micros = (rest / 1000) | 0;
    at = seconds === 0 ? putShort(view, at, micros) : putSix(view, putShort(view, at, seconds | 0), micros);
    view.setInt32(at, POINT_AND_THREE_DIGITS[rest - micros * 1000]!, true);
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

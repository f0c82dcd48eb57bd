// Walks over JSON text in a buffer that may end anywhere: checks the grammar as strictly as JSON.parse, builds nothing,
// and tells "not all here yet" from "wrong". Positions are byte offsets into the buffer.

/** JSON text that no more input could make right. */
export class JsonSyntaxError extends Error {
  /** Offset in the buffer. */
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** Returned where the buffer ends before the value does. */
export const INCOMPLETE = -1;
/** JSON.parse goes deeper; traces do not. */
export const MAX_NESTING = 256;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const ZERO = 0x30;
const LETTER_U = 0x75;
const LITERALS = new Map([
  [0x74, Buffer.from('true')],
  [0x66, Buffer.from('false')],
  [0x6e, Buffer.from('null')],
]);
/** 1: may follow a backslash. */
const ESCAPES = new Uint8Array(256);
for (const letter of '"\\/bfnrtu') ESCAPES[letter.charCodeAt(0)] = 1;
const HEX = new Uint8Array(256);
for (const digit of '0123456789abcdefABCDEF') HEX[digit.charCodeAt(0)] = 1;

const isDigit = (c: number | undefined) => c !== undefined && c >= ZERO && c <= 0x39;

/** Called for each member of an object: where its key (without quotes) and its value lie. */
export type MemberVisitor = (
  keyStart: number,
  keyEnd: number,
  escaped: boolean,
  valueStart: number,
  valueEnd: number,
) => void;

/** Called before an object member that is itself an object is read; its visitor, if it has one. */
export type MemberDescent = (keyStart: number, keyEnd: number, escaped: boolean) => MemberVisitor | undefined;

export class JsonCursor {
  buffer: Buffer = Buffer.alloc(0);
  /** The text ends before this offset. */
  end = 0;
  /** The last string skipped holds a backslash. */
  escaped = false;

  /** Offset of the first byte that is no white space; may be `end`. */
  skipSpace(at: number): number {
    const { buffer, end } = this;
    let p = at;
    while (p < end) {
      const c = buffer[p];
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) break;
      p++;
    }
    return p;
  }

  /** Offset after the value that starts at `at`, or INCOMPLETE. A number that touches the end is incomplete. */
  skipValue(at: number, depth = 0): number {
    if (at >= this.end) return INCOMPLETE;
    const c = this.buffer[at]!;
    if (c === QUOTE) return this.skipString(at);
    if (c === OPEN_BRACE) return this.skipObject(at, depth);
    if (c === OPEN_BRACKET) return this.skipArray(at, depth);
    if (c === MINUS || isDigit(c)) return this.#skipNumber(at);
    return this.#skipLiteral(at, c);
  }

  /** `at` is on the opening quote. */
  skipString(at: number): number {
    const { buffer, end } = this;
    let p = at + 1;
    this.escaped = false;
    while (p < end) {
      const c = buffer[p]!;
      if (c === QUOTE) return p + 1;
      if (c === BACKSLASH) {
        this.escaped = true;
        if (p + 1 >= end) return INCOMPLETE;
        const letter = buffer[p + 1]!;
        if (ESCAPES[letter] === 0) throw new JsonSyntaxError('an escape that JSON does not know', p);
        if (letter === LETTER_U) {
          for (let i = p + 2; i < p + 6; i++) {
            if (i >= end) return INCOMPLETE;
            if (HEX[buffer[i]!] === 0) throw new JsonSyntaxError('a \\u escape without four hexadecimal digits', p);
          }
          p += 6;
        } else {
          p += 2;
        }
      } else if (c < 0x20) {
        throw new JsonSyntaxError('a control character inside a string', p);
      } else {
        p++;
      }
    }
    return INCOMPLETE;
  }

  /** `at` is on the brace; `visit` sees the members, and `descend` those that are objects before they are read. */
  skipObject(at: number, depth = 0, visit?: MemberVisitor, descend?: MemberDescent): number {
    const { buffer, end } = this;
    if (depth >= MAX_NESTING) throw new JsonSyntaxError(`more than ${MAX_NESTING} levels of nesting`, at);
    let p = this.skipSpace(at + 1);
    if (p >= end) return INCOMPLETE;
    if (buffer[p] === CLOSE_BRACE) return p + 1;
    for (;;) {
      if (p >= end) return INCOMPLETE;
      if (buffer[p] !== QUOTE) throw new JsonSyntaxError('a member without a quoted key', p);
      const key = p;
      const keyEnd = this.skipString(key);
      if (keyEnd === INCOMPLETE) return INCOMPLETE;
      const escaped = this.escaped;
      p = this.skipSpace(keyEnd);
      if (p >= end) return INCOMPLETE;
      if (buffer[p] !== COLON) throw new JsonSyntaxError('a key without a colon after it', p);
      const value = this.skipSpace(p + 1);
      const valueEnd =
        descend !== undefined && value < end && buffer[value] === OPEN_BRACE
          ? this.skipObject(value, depth + 1, descend(key + 1, keyEnd - 1, escaped))
          : this.skipValue(value, depth + 1);
      if (valueEnd === INCOMPLETE) return INCOMPLETE;
      if (visit !== undefined) visit(key + 1, keyEnd - 1, escaped, value, valueEnd);
      p = this.skipSpace(valueEnd);
      if (p >= end) return INCOMPLETE;
      if (buffer[p] === CLOSE_BRACE) return p + 1;
      if (buffer[p] !== COMMA) throw new JsonSyntaxError('neither a comma nor } after a member', p);
      p = this.skipSpace(p + 1);
    }
  }

  /** `at` is on the bracket. */
  skipArray(at: number, depth: number): number {
    const { buffer, end } = this;
    if (depth >= MAX_NESTING) throw new JsonSyntaxError(`more than ${MAX_NESTING} levels of nesting`, at);
    let p = this.skipSpace(at + 1);
    if (p >= end) return INCOMPLETE;
    if (buffer[p] === CLOSE_BRACKET) return p + 1;
    for (;;) {
      p = this.skipValue(p, depth + 1);
      if (p === INCOMPLETE) return INCOMPLETE;
      p = this.skipSpace(p);
      if (p >= end) return INCOMPLETE;
      if (buffer[p] === CLOSE_BRACKET) return p + 1;
      if (buffer[p] !== COMMA) throw new JsonSyntaxError('neither a comma nor ] after an element', p);
      p = this.skipSpace(p + 1);
    }
  }

  #skipNumber(at: number): number {
    const { buffer, end } = this;
    let p = buffer[at] === MINUS ? at + 1 : at;
    if (p >= end) return INCOMPLETE;
    if (buffer[p] === ZERO) p++;
    else p = this.#skipDigits(p);
    if (p !== INCOMPLETE && p < end && buffer[p] === 0x2e) p = this.#skipDigits(p + 1);
    if (p !== INCOMPLETE && p < end && (buffer[p] === 0x65 || buffer[p] === 0x45)) {
      p++;
      if (p < end && (buffer[p] === 0x2b || buffer[p] === MINUS)) p++;
      p = this.#skipDigits(p);
    }
    // Whatever follows is for the caller to judge; at the end of the buffer more digits may follow.
    return p === INCOMPLETE || p >= end ? INCOMPLETE : p;
  }

  /** At least one digit. */
  #skipDigits(at: number): number {
    let p = at;
    while (p < this.end && isDigit(this.buffer[p])) p++;
    if (p >= this.end) return INCOMPLETE;
    if (p === at) throw new JsonSyntaxError('a number without a digit where one must be', at);
    return p;
  }

  #skipLiteral(at: number, first: number): number {
    const word = LITERALS.get(first);
    if (word === undefined) throw new JsonSyntaxError('no value where one must be', at);
    for (let i = 1; i < word.length; i++) {
      if (at + i >= this.end) return INCOMPLETE;
      if (this.buffer[at + i] !== word[i]) throw new JsonSyntaxError('no value where one must be', at);
    }
    return at + word.length;
  }
}

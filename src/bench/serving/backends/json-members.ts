// Finds members of a JSON object without making values of the others: the events of /generate repeat the whole text and all
// token ids, of which nothing is needed.

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * The bytes of the values of `keys`, without space around them; views of `json`. Values under other keys are skipped, not
 * checked. A key that is there twice counts with its last value, as for JSON.parse. @throws SyntaxError
 */
export function scanMembers<K extends string>(json: Buffer, keys: readonly K[]): Partial<Record<K, Buffer>> {
  const found: Partial<Record<K, Buffer>> = {};
  let at = expect(json, skipSpace(json, 0), OPEN_BRACE);
  at = skipSpace(json, at);
  if (json[at] === CLOSE_BRACE) return ended(json, at + 1, found);
  for (;;) {
    at = skipSpace(json, at);
    if (json[at] !== QUOTE) throw unexpected(json, at);
    const keyEnd = stringEnd(json, at);
    const key = json.toString('latin1', at + 1, keyEnd - 1) as K;
    const from = skipSpace(json, expect(json, skipSpace(json, keyEnd), COLON));
    const to = valueEnd(json, from);
    if (keys.includes(key)) found[key] = json.subarray(from, to);
    at = skipSpace(json, to);
    if (json[at] === CLOSE_BRACE) return ended(json, at + 1, found);
    at = expect(json, at, COMMA);
  }
}

function ended<T>(json: Buffer, at: number, found: T): T {
  const rest = skipSpace(json, at);
  if (rest < json.length) throw unexpected(json, rest);
  return found;
}

function skipSpace(json: Buffer, at: number): number {
  let next = at;
  while (json[next] === 0x20 || json[next] === 0x0a || json[next] === 0x0d || json[next] === 0x09) next += 1;
  return next;
}

function expect(json: Buffer, at: number, byte: number): number {
  if (json[at] !== byte) throw unexpected(json, at);
  return at + 1;
}

/** Behind the value that begins at `from`. */
function valueEnd(json: Buffer, from: number): number {
  const first = json[from];
  if (first === QUOTE) return stringEnd(json, from);
  if (first === OPEN_BRACKET || first === OPEN_BRACE) return containerEnd(json, from);
  let at = from;
  while (at < json.length && json[at] !== COMMA && json[at] !== CLOSE_BRACE && json[at]! > 0x20) at += 1;
  if (at === from) throw unexpected(json, from);
  return at;
}

function stringEnd(json: Buffer, from: number): number {
  for (let at = json.indexOf(QUOTE, from + 1); at >= 0; at = json.indexOf(QUOTE, at + 1)) {
    let backslashes = 0;
    while (json[at - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return at + 1;
  }
  throw unexpected(json, json.length);
}

function containerEnd(json: Buffer, from: number): number {
  if (json[from] === OPEN_BRACKET) {
    // A list of numbers, the common case: searching for a byte is far quicker than looking at each.
    const close = json.indexOf(CLOSE_BRACKET, from);
    const inner = json.subarray(from + 1, Math.max(close, from + 1));
    if (close >= 0 && !inner.includes(OPEN_BRACKET) && !inner.includes(QUOTE)) return close + 1;
  }
  let depth = 0;
  for (let at = from; at < json.length; ) {
    const byte = json[at]!;
    if (byte === QUOTE) {
      at = stringEnd(json, at);
      continue;
    }
    if (byte === OPEN_BRACKET || byte === OPEN_BRACE) depth += 1;
    else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
  throw unexpected(json, json.length);
}

function unexpected(json: Buffer, at: number): SyntaxError {
  return new SyntaxError(at >= json.length ? 'the JSON ends too soon' : `unexpected byte at ${at} of the JSON`);
}

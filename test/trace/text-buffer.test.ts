import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeText, encodeText, TextBuffer } from '#vitrine/trace/write/text-buffer.js';
import { RandomChoices } from '../support/random-choices.js';

const SMALLEST = 160;

/** What `put` leaves, one line for each of `items`, through a buffer that is emptied all the time. */
function linesOf<T>(items: readonly T[], put: (text: TextBuffer, item: T) => void, capacity = SMALLEST): string[] {
  const pieces: Buffer[] = [];
  const text = new TextBuffer(capacity, (bytes) => {
    assert.ok(bytes.length > 0 && bytes.length <= capacity, `a piece of ${bytes.length} bytes`);
    pieces.push(Buffer.from(bytes));
  });
  for (const item of items) {
    put(text, item);
    text.byte(0x0a);
  }
  text.flush();
  text.flush();
  assert.equal(text.length, 0);
  return Buffer.concat(pieces).toString().split('\n').slice(0, -1);
}

/** Whole numbers from 0 to `most` around which digits come, go and carry, and others at random. */
function wholeNumbers(most: bigint): bigint[] {
  const random = new RandomChoices(3);
  const numbers = [0n, most];
  for (let power = 1n; power <= most; power *= 10n) {
    for (const times of [1n, 2n, 5n, 9n]) for (const change of [-1n, 0n, 1n]) numbers.push(power * times + change);
  }
  for (let power = 1n; power <= most; power *= 2n) numbers.push(power - 1n, power, power + 1n);
  for (let i = 0; i < 5000; i++) {
    numbers.push(BigInt(random.integer(0, 0xffff_ffff)) * BigInt(random.integer(0, 2 ** random.integer(1, 32))));
  }
  return numbers.filter((number) => number <= most);
}

test('whole numbers are those of String(), to 2^53 on both sides of zero', () => {
  const sizes = wholeNumbers(BigInt(Number.MAX_SAFE_INTEGER)).map(Number);
  const numbers = [...sizes, ...sizes.map((size) => -size)];
  const expected = numbers.map(String);
  assert.deepEqual(
    linesOf(numbers, (text, number) => text.integer(number)),
    expected,
  );
  assert.deepEqual(
    linesOf(numbers, (text, number) => text.number(number)),
    expected,
  );
});

test('nanoseconds are microseconds with three decimals, exact to 2^53 and no worse than a double beyond', () => {
  const times = wholeNumbers(BigInt(Number.MAX_SAFE_INTEGER));
  const decimal = (ns: bigint) => `${ns / 1000n}.${String(ns % 1000n).padStart(3, '0')}`;
  assert.deepEqual(
    linesOf(times.map(Number), (text, ns) => text.microseconds(ns)),
    times.map(decimal),
  );
  assert.deepEqual(
    linesOf([2 ** 62], (text, ns) => text.microseconds(ns)),
    [decimal(2n ** 62n)],
  );
});

test('numbers of 64 bits are exact, whatever the sign of their halves', () => {
  const least = wholeNumbers(2n ** 63n);
  const numbers = [...least, ...least.map((number) => BigInt.asUintN(64, -number))];
  const halves = numbers.map((number) => [Number(number & 0xffff_ffffn), Number(number >> 32n)] as const);
  const asSigned = halves.map(([low, high]) => [low | 0, high | 0] as const);
  for (const pairs of [halves, asSigned]) {
    assert.deepEqual(
      linesOf(pairs, (text, [low, high]) => text.uint64(low, high)),
      numbers.map(String),
    );
    assert.deepEqual(
      linesOf(pairs, (text, [low, high]) => text.int64(low, high)),
      numbers.map((number) => String(BigInt.asIntN(64, number))),
    );
  }
});

test('other numbers are as in JSON, those that JSON lacks are strings', () => {
  const numbers = [0.1, -0.5, 1e21, -1e300, 5e-324, 2 ** 53, -(2 ** 60), Math.fround(0.1), -0];
  assert.deepEqual(
    linesOf(numbers, (text, number) => text.number(number)),
    numbers.map((number) => JSON.stringify(number)),
  );
  assert.deepEqual(
    linesOf([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], (text, number) => text.number(number)),
    ['"NaN"', '"Infinity"', '"-Infinity"'],
  );
});

test('texts of every length and width come out whole, also those longer than the buffer', () => {
  const texts = Array.from({ length: 400 }, (_, length) =>
    ['x', 'é', '€', '😀', '\u007f😀'].map((c) => c.repeat(length)),
  ).flat();
  for (const capacity of [SMALLEST, 1 << 10, 1 << 20]) {
    assert.deepEqual(
      linesOf(texts, (text, piece) => text.fragment(encodeText(piece)), capacity),
      texts,
    );
    assert.deepEqual(
      linesOf(texts, (text, piece) => text.string(piece), capacity),
      texts,
    );
    assert.deepEqual(
      linesOf(texts, (text, piece) => text.bytes(Buffer.from(`<${piece}>`), 1, Buffer.byteLength(piece) + 1), capacity),
      texts,
    );
  }
  assert.deepEqual(
    texts.map((text) => decodeText(encodeText(text))),
    texts,
  );
});

test('what is cleared is not written', () => {
  const lines = linesOf([1, 2, 3], (text, number) => {
    text.integer(number);
    if (number === 2) text.clear();
  });
  assert.deepEqual(lines, ['', '3']);
});

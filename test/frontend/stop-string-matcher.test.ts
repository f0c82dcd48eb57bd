import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type StopMatch, StopStringMatcher } from '#vitrine/frontend/stop-string-matcher.js';
import { createRandom } from '../support/random.js';

interface Outcome {
  readonly text: string;
  readonly stop: string | null;
}

/** Pushes pieces until a match; the text given out and the stop string. */
function run(stops: readonly string[], pieces: readonly string[]): Outcome {
  const matcher = new StopStringMatcher(stops);
  let text = '';
  for (const piece of pieces) {
    const found: string | StopMatch = matcher.push(piece);
    if (typeof found !== 'string') return { text: text + found.before, stop: found.stop };
    text += found;
  }
  return { text: text + matcher.flush(), stop: null };
}

/** The definition: the match that ends first, and of those the longest. */
function naive(stops: readonly string[], text: string): Outcome {
  for (let end = 1; end <= text.length; end++) {
    const here = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length);
    if (here.length > 0) return { text: text.slice(0, end - here[0]!.length), stop: here[0]! };
  }
  return { text, stop: null };
}

test('a stop string is found across pieces and cut off', () => {
  assert.deepEqual(run(['STOP'], ['one S', 'T', 'OP two']), { text: 'one ', stop: 'STOP' });
});

test('of two stop strings the one that ends first wins, of two that end together the longer one', () => {
  assert.deepEqual(run(['abcd', 'bc'], ['xabcd']), { text: 'xa', stop: 'bc' });
  assert.deepEqual(run(['c', 'bc'], ['xabc']), { text: 'xa', stop: 'bc' });
});

test('what may become a stop string is held back, and given out when it does not', () => {
  const matcher = new StopStringMatcher(['\n\nUser:']);
  assert.equal(matcher.push('Hello\n'), 'Hello');
  assert.equal(matcher.push('\nUs'), '');
  assert.equal(matcher.push('age\n'), '\n\nUsage');
  assert.equal(matcher.flush(), '\n');
});

test('a repeated beginning does not hide the match', () => {
  assert.deepEqual(run(['aab'], ['a', 'a', 'a', 'b', 'c']), { text: 'a', stop: 'aab' });
});

test('the match says what came with it in the same piece', () => {
  const matcher = new StopStringMatcher(['.']);
  assert.deepEqual(matcher.push('end. And more'), { stop: '.', before: 'end', rest: '. And more' });
});

test('where matches do not count, text flows and later ones are found', () => {
  const matcher = new StopStringMatcher(['ab']);
  assert.equal(matcher.push('ab', false), 'ab');
  assert.equal(matcher.push('xa', false), 'x');
  assert.deepEqual(matcher.push('b'), { stop: 'ab', before: '', rest: 'ab' });
});

test('any cut of any text gives what the definition says', () => {
  const random = createRandom(7);
  const integer = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const word = (length: number) => Array.from({ length }, () => 'abc'[integer(0, 2)]).join('');
  for (let round = 0; round < 2000; round++) {
    const stops = [...new Set(Array.from({ length: integer(1, 4) }, () => word(integer(1, 6))))];
    const text = word(integer(0, 30));
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const size = integer(1, 5);
      pieces.push(text.slice(at, at + size));
      at += size;
    }
    assert.deepEqual(run(stops, pieces), naive(stops, text), JSON.stringify({ stops, pieces }));
  }
});

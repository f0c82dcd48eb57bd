import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classifySequence, incompleteTail } from '#vitrine/tokenizer/utf8.js';
import { createRandom } from '../support/random.js';

test('incompleteTail cuts in front of a character that is not complete', () => {
  const cases: [number[], number][] = [
    [[], 0],
    [[0x41], 0],
    [[0xc3], 1],
    [[0x41, 0xc3], 1],
    [[0xc3, 0xa9], 0],
    [[0xe2, 0x82], 2],
    [[0xe2, 0x82, 0xac], 0],
    [[0xf0, 0x9f, 0x98], 3],
    [[0xf0, 0x9f, 0x98, 0x80], 0],
    [[0x80, 0x80, 0x80], 0],
    [[0xff], 0],
    [[0xc1], 0],
    [[0xe2, 0x41], 0],
  ];
  for (const [bytes, expected] of cases) assert.equal(incompleteTail(Uint8Array.from(bytes), bytes.length), expected);
});

test('cutting at the incomplete tail never changes the text', () => {
  const random = createRandom(6);
  const interesting = [0x41, 0x80, 0xbf, 0xc3, 0xa9, 0xe0, 0xe2, 0x82, 0xac, 0xed, 0xf0, 0x9f, 0xf4, 0x90, 0xff];
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(Array.from({ length: 8 }, () => interesting[Math.floor(random() * interesting.length)]!));
    const cut = 4 - incompleteTail(bytes, 4);
    assert.equal(bytes.toString('utf8', 0, cut) + bytes.toString('utf8', cut), bytes.toString('utf8'));
  }
});

test('classifySequence agrees with a strict decoder on every two bytes, and on longer ones', () => {
  const strict = new TextDecoder('utf-8', { fatal: true });
  const isText = (bytes: Uint8Array) => {
    try {
      return [...strict.decode(bytes)].length === 1;
    } catch {
      return false;
    }
  };
  for (let first = 0x80; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      const pair = Uint8Array.of(first, second);
      assert.equal(classifySequence(pair, 2) === 'complete', isText(pair));
      const continued = [[0x80], [0x80, 0x80]].map((more) => Uint8Array.of(first, second, ...more));
      if (classifySequence(pair, 2) === 'incomplete') assert.ok(continued.some(isText), `${first} ${second}`);
      else if (second >= 0x80) assert.ok(!continued.some(isText), `${first} ${second}`);
    }
  }
  assert.equal(classifySequence(Uint8Array.of(0x41), 1), 'complete');
});

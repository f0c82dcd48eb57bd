// The scanner of JSON members against JSON.parse, on random objects and on everything that is cut off.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '#vitrine/bench/random.js';
import { scanMembers } from '#vitrine/bench/serving/backends/json-members.js';

const KEYS = ['text', 'meta_info', 'error'] as const;
const TEXTS = ['', 'a', '"', '\\', '\\"', 'tïme 石 👩‍👧', ']', '[', '{"text":1}', '\n\t', '\u2028', 'x'.repeat(300)];

function randomValue(random: Random, depth: number): unknown {
  const kind = random.integer(0, depth > 0 ? 6 : 4);
  if (kind === 0) return TEXTS[random.integer(0, TEXTS.length - 1)];
  if (kind === 1) return random.integer(-1000, 1000) / 8;
  if (kind === 2) return random.integer(0, 1) === 0;
  if (kind === 3) return null;
  if (kind === 4) return Array.from({ length: random.integer(0, 5) }, () => random.integer(0, 9));
  if (kind === 5) return Array.from({ length: random.integer(0, 4) }, () => randomValue(random, depth - 1));
  return randomObject(random, depth - 1);
}

function randomObject(random: Random, depth: number): Record<string, unknown> {
  const keys = random.shuffle(['text', 'meta_info', 'error', 'other', 'output_ids', 'te"xt', '']);
  const chosen = keys.slice(0, random.integer(0, keys.length));
  return Object.fromEntries(chosen.map((key) => [key, randomValue(random, depth)]));
}

function parsed(json: string): Record<string, unknown> {
  const found = Object.entries(scanMembers(Buffer.from(json), KEYS));
  return Object.fromEntries(found.map(([key, bytes]) => [key, JSON.parse(bytes.toString())]));
}

test('random objects, tight and with spaces', () => {
  const random = new Random(3, 'json');
  for (let round = 0; round < 3000; round++) {
    const object = randomObject(random, 3);
    const wanted = Object.fromEntries(
      Object.entries(object).filter(([key]) => (KEYS as readonly string[]).includes(key)),
    );
    assert.deepEqual(parsed(JSON.stringify(object)), wanted);
    assert.deepEqual(parsed(` ${JSON.stringify(object, null, round % 5)} \r\n`), wanted);
  }
});

test('every beginning of an object that is not all of it is refused', () => {
  const random = new Random(4, 'json');
  for (let round = 0; round < 100; round++) {
    const bytes = Buffer.from(JSON.stringify(randomObject(random, 2)));
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => scanMembers(bytes.subarray(0, length), KEYS), SyntaxError);
    }
  }
});

test('what is no object, what follows one, and keys that are there twice', () => {
  for (const json of [
    '',
    'null',
    '[]',
    '"text"',
    '{"text"}',
    '{"text":}',
    '{,}',
    '{"text":1,}',
    '{text:1}',
    '{} {}',
    '{"a":1 "b":2}',
  ]) {
    assert.throws(() => scanMembers(Buffer.from(json), KEYS), SyntaxError, json);
  }
  assert.deepEqual(parsed('{"text":1,"text":"b"}'), JSON.parse('{"text":1,"text":"b"}'));
});

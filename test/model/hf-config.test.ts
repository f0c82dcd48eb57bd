import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { HfConfig } from '#vitrine/model/hf-config.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { writeJson } from './model-folder.js';

const config = new HfConfig(
  { n: 3, x: 0.5, s: 'word', yes: true, none: null, list: [1, 2], words: ['a'], inner: { n: 'no' } },
  'config.json',
);

test('reads keys of the right type', () => {
  assert.equal(config.integer('n'), 3);
  assert.equal(config.integer('n', { min: 3, max: 3 }), 3);
  assert.equal(config.number('x'), 0.5);
  assert.equal(config.positive('x'), 0.5);
  assert.equal(config.string('s'), 'word');
  assert.equal(config.boolean('yes'), true);
  assert.deepEqual(config.integers('list'), [1, 2]);
  assert.deepEqual(config.integers('n'), [3]);
  assert.deepEqual(config.strings('words'), ['a']);
  assert.equal(config.has('none'), false);
  assert.equal(config.has('missing'), false);
  assert.equal(config.has('n'), true);
});

const REFUSED: [string, () => unknown, RegExp][] = [
  ['missing', () => config.integer('gone'), /^config\.json: "gone" must be an integer, got nothing\.$/],
  ['fraction', () => config.integer('x'), /"x" must be an integer, got number 0\.5/],
  ['below', () => config.integer('n', { min: 4 }), /"n" must be an integer of at least 4, got number 3/],
  ['above', () => config.integer('n', { max: 2 }), /"n" must be an integer of at most 2/],
  ['outside', () => config.number('x', { min: 1, max: 2 }), /"x" must be a number between 1 and 2, got number 0\.5/],
  ['string for number', () => config.number('s'), /"s" must be a number, got string "word"/],
  ['not positive', () => new HfConfig({ z: 0 }, 'c').positive('z'), /"z" must be a number greater than 0/],
  ['number for boolean', () => config.boolean('n'), /"n" must be true or false, got number 3/],
  ['null for string', () => config.string('none'), /"none" must be a string, got null/],
  ['array for object', () => config.object('list'), /"list" must be an object, got an array/],
  ['mixed list', () => new HfConfig({ l: [1, 'a'] }, 'c').integers('l'), /"l" must be an integer or an array of them/],
  ['list of numbers', () => config.strings('list'), /"list" must be an array of strings/],
  [
    'nested',
    () => config.object('inner').integer('n'),
    /^config\.json: inner: "n" must be an integer, got string "no"/,
  ],
];

for (const [what, read, message] of REFUSED) {
  test(`refuses: ${what}`, () => assert.throws(read, { name: 'VitrineError', code: 'MODEL_INVALID', message }));
}

test('a folder without config.json, or with a broken one, is named', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'config.json');
  await assert.rejects(HfConfig.read(directory), { code: 'MODEL_INVALID', message: `${path} does not exist.` });
  await writeFile(path, '{"a": ');
  await assert.rejects(HfConfig.read(directory), { code: 'MODEL_INVALID', message: /config\.json is not valid JSON/ });
  await writeFile(path, '[1]');
  await assert.rejects(HfConfig.read(directory), { message: /must hold a JSON object, got an array/ });
});

async function readWith(
  t: Parameters<typeof temporaryDirectory>[0],
  file: Record<string, unknown>,
  overrides: Record<string, unknown>,
) {
  const directory = await temporaryDirectory(t);
  await writeJson(directory, 'config.json', file);
  return (await HfConfig.read(directory, overrides)).values;
}

test('overrides replace whole keys', async (t) => {
  const values = await readWith(t, { a: 1, b: { x: 1, y: 2 } }, { b: { x: 3 }, c: null });
  assert.deepEqual(values, { a: 1, b: { x: 3 }, c: null });
});

test('an override by the classic name wins over the new name in the file', async (t) => {
  const file = { dtype: 'bfloat16', rope_parameters: { rope_type: 'default', rope_theta: 1e6 } };
  const theta = await readWith(t, file, { rope_theta: 5000, torch_dtype: 'float16' });
  assert.deepEqual(theta, { rope_parameters: { rope_type: 'default' }, rope_theta: 5000, torch_dtype: 'float16' });
  const scaling = await readWith(t, file, { rope_scaling: { type: 'linear', factor: 2 } });
  assert.deepEqual(scaling, {
    dtype: 'bfloat16',
    rope_parameters: null,
    rope_theta: 1e6,
    rope_scaling: { type: 'linear', factor: 2 },
  });
});

test('an override by the new name wins over the classic name in the file', async (t) => {
  const file = { rope_scaling: { type: 'linear', factor: 2 }, rope_theta: 1e4 };
  const values = await readWith(t, file, { rope_parameters: { rope_type: 'default' } });
  assert.deepEqual(values, { rope_theta: 1e4, rope_parameters: { rope_type: 'default' } });
});

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openCheckpoint } from '#vitrine/model/checkpoint.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { safetensorsBytes, writeJson } from './model-folder.js';

type Files = Record<string, readonly string[]>;

async function folder(t: TestContext, files: Files, weightMap?: unknown): Promise<string> {
  const directory = await temporaryDirectory(t);
  for (const [file, names] of Object.entries(files)) {
    await writeFile(join(directory, file), safetensorsBytes(names.map((name) => ({ name, shape: [2] }))));
  }
  if (weightMap !== undefined) await writeJson(directory, 'model.safetensors.index.json', { weight_map: weightMap });
  return directory;
}

const opened = async (directory: string) => {
  const { files, tensors } = await openCheckpoint(directory);
  const places = [...tensors].map(([name, { file }]) => [name, basename(files[file]!.path)]);
  return Object.fromEntries(places) as Record<string, string>;
};

const SHARDS = { 'm-1.safetensors': ['a', 'b'], 'm-2.safetensors': ['c'] };
const MAP = { a: 'm-1.safetensors', b: 'm-1.safetensors', c: 'm-2.safetensors' };

test('shards by index; other safetensors files are not read', async (t) => {
  const directory = await folder(t, { ...SHARDS, 'consolidated.safetensors': ['a'], 'other.safetensors': ['a'] }, MAP);
  assert.deepEqual(await opened(directory), MAP);
});

test('model.safetensors wins over an index', async (t) => {
  const directory = await folder(t, { 'model.safetensors': ['a'], ...SHARDS }, MAP);
  assert.deepEqual(await opened(directory), { a: 'model.safetensors' });
});

test('without either, every safetensors file but consolidated', async (t) => {
  const directory = await folder(t, { ...SHARDS, 'consolidated.00.safetensors': ['a'] });
  assert.deepEqual(await opened(directory), MAP);
});

const BROKEN: [string, Files, unknown, RegExp][] = [
  [
    'no weights at all',
    {},
    undefined,
    /holds no model\.safetensors and no model\.safetensors\.index\.json\. \(--load-format dummy/,
  ],
  [
    'a missing shard',
    { 'm-1.safetensors': ['a', 'b'] },
    MAP,
    /index\.json lists m-2\.safetensors, which is not in the folder/,
  ],
  [
    'a tensor in the wrong shard',
    { 'm-1.safetensors': ['a'], 'm-2.safetensors': ['b', 'c'] },
    MAP,
    /says that tensor "b" is in m-1\.safetensors, but it is in m-2\.safetensors/,
  ],
  [
    'a tensor in no shard',
    { 'm-1.safetensors': ['a'], 'm-2.safetensors': ['c'] },
    MAP,
    /says that tensor "b" is in m-1\.safetensors, but it is in no file/,
  ],
  [
    'a tensor the index does not list',
    { ...SHARDS, 'm-2.safetensors': ['c', 'd'] },
    MAP,
    /m-2\.safetensors: tensor "d" is not listed in .*index\.json/,
  ],
  [
    'a tensor in two files',
    { 'm-1.safetensors': ['a'], 'm-2.safetensors': ['a'] },
    undefined,
    /m-2\.safetensors: tensor "a" is also in .*m-1\.safetensors/,
  ],
  ['an index without weight_map', SHARDS, null, /index\.json has no object "weight_map"/],
  [
    'an index that leaves the folder',
    SHARDS,
    { a: '../m-1.safetensors' },
    /"a" must name a \.safetensors file in the same folder/,
  ],
  ['an index with a number', SHARDS, { a: 3 }, /"a" must name a \.safetensors file in the same folder/],
];

for (const [what, files, weightMap, message] of BROKEN) {
  test(`refuses ${what}`, async (t) => {
    await assert.rejects(openCheckpoint(await folder(t, files, weightMap)), { code: 'MODEL_INVALID', message });
  });
}

test('says that other formats are not read', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(join(directory, 'pytorch_model.bin'), '');
  await assert.rejects(
    openCheckpoint(directory),
    /pytorch_model\.bin is there, but only the safetensors format is read/,
  );
});

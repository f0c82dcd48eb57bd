import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readSafetensorsHeader } from '#vitrine/model/safetensors.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { rawSafetensors, safetensorsBytes } from './model-folder.js';

async function read(t: TestContext, bytes: Buffer) {
  const path = join(await temporaryDirectory(t), 'w.safetensors');
  await writeFile(path, bytes);
  return readSafetensorsHeader(path);
}

test('reads names, shapes and offsets', async (t) => {
  const tensors = [
    { name: 'a', shape: [2, 3] },
    { name: 'b"\\é', shape: [5], dtype: 'BF16' },
    { name: 'scalar', shape: [] },
    { name: 'empty', shape: [0, 4] },
  ];
  const bytes = safetensorsBytes(tensors, { format: 'pt' });
  const file = await read(t, bytes);
  const dataStart = bytes.length - 24 - 10 - 4;
  assert.equal(file.bytes, bytes.length);
  assert.deepEqual(
    [...file.tensors.values()],
    [
      { name: 'a', dtype: 'F32', shape: [2, 3], offset: dataStart, bytes: 24 },
      { name: 'b"\\é', dtype: 'BF16', shape: [5], offset: dataStart + 24, bytes: 10 },
      { name: 'scalar', dtype: 'F32', shape: [], offset: dataStart + 34, bytes: 4 },
      { name: 'empty', dtype: 'F32', shape: [0, 4], offset: dataStart + 38, bytes: 0 },
    ],
  );
});

test('the order in the header may differ from the order in the file, and spaces may pad it', async (t) => {
  const header =
    '{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   ';
  const { tensors } = await read(t, rawSafetensors(header, 8));
  assert.equal(tensors.get('b')!.offset - tensors.get('a')!.offset, 4);
});

const whole = safetensorsBytes([{ name: 'a', shape: [4] }]);
const entry = (fields: string, bytes = 8) => rawSafetensors(`{"a":${fields}}`, bytes);

const BROKEN: [string, Buffer, RegExp][] = [
  ['an empty file', Buffer.alloc(0), /is 0 bytes long, too short for the 8-byte header length/],
  [
    'a file that ends in the header',
    whole.subarray(0, 20),
    /announces a header of \d+ bytes but is only 20 bytes long; is it truncated\?/,
  ],
  [
    'another format',
    Buffer.from('<!DOCTYPE html><html></html>'),
    /announces a header of \d+ bytes \(at most 100000000\); is it a safetensors file\?/,
  ],
  [
    'a truncated file',
    whole.subarray(0, whole.length - 3),
    /tensor "a" ends at byte \d+, but the file has only \d+; is it truncated\?/,
  ],
  ['bytes behind the last tensor', Buffer.concat([whole, Buffer.alloc(5)]), /has 5 bytes after its last tensor/],
  ['a header that is not JSON', rawSafetensors('{"a":', 0), /has a header that is not JSON/],
  ['a header that is no object', rawSafetensors('[]', 0), /has a header that is an array, not an object/],
  ['a header that is not UTF-8', rawSafetensors(Buffer.from([0x7b, 0xff, 0x7d]), 0), /has a header that is not UTF-8/],
  ['a tensor that is no object', entry('3'), /tensor "a" is described by number 3, not by an object/],
  [
    'an unknown dtype',
    entry('{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}'),
    /tensor "a" has the unknown dtype string "Q4"/,
  ],
  [
    'a dtype of Object',
    entry('{"dtype":"toString","shape":[2],"data_offsets":[0,8]}'),
    /tensor "a" has the unknown dtype/,
  ],
  ['no shape', entry('{"dtype":"F32","data_offsets":[0,8]}'), /tensor "a" needs a shape of non-negative integers/],
  ['a negative size', entry('{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}'), /tensor "a" needs a shape/],
  [
    'one offset',
    entry('{"dtype":"F32","shape":[2],"data_offsets":[8]}'),
    /tensor "a" needs data_offsets \[begin, end\]/,
  ],
  [
    'offsets in the wrong order',
    entry('{"dtype":"F32","shape":[2],"data_offsets":[8,0]}'),
    /tensor "a" needs data_offsets/,
  ],
  [
    'a shape that does not fit',
    entry('{"dtype":"F32","shape":[3],"data_offsets":[0,8]}'),
    /tensor "a" is F32 \[3\] and needs 12 bytes, but its data_offsets span 8/,
  ],
  [
    'an overlap',
    safetensorsBytes([
      { name: 'a', shape: [4] },
      { name: 'b', shape: [2], dataOffsets: [12, 20] },
    ]),
    /tensor "b" overlaps "a" by 4 bytes/,
  ],
  [
    'a gap between tensors',
    safetensorsBytes([
      { name: 'a', shape: [4] },
      { name: 'b', shape: [2], dataOffsets: [20, 28] },
    ]),
    /tensor "b" leaves a gap of 4 bytes after "a"/,
  ],
  [
    'a gap at the start',
    safetensorsBytes([{ name: 'a', shape: [1], dataOffsets: [4, 8] }]),
    /tensor "a" leaves a gap of 4 bytes after the start/,
  ],
  [
    'a name that comes twice',
    rawSafetensors(
      '{"x{":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "a" : {"dtype":"F32","shape":[1],"data_offsets":[4,8]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
      8,
    ),
    /lists tensor "a" twice/,
  ],
];

for (const [what, bytes, message] of BROKEN) {
  test(`refuses ${what}`, async (t) => {
    await assert.rejects(read(t, bytes), (error: Error & { code: string }) => {
      assert.equal(error.code, 'MODEL_INVALID');
      assert.match(error.message, message);
      assert.match(error.message, /w\.safetensors/);
      return true;
    });
  });
}

test('names a file that cannot be opened', async (t) => {
  const path = join(await temporaryDirectory(t), 'none.safetensors');
  await assert.rejects(readSafetensorsHeader(path), {
    code: 'MODEL_INVALID',
    message: /Cannot open .*none\.safetensors: ENOENT/,
  });
});

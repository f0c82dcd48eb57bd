// Folders are made with all that is above them, and where none can be made the error comes at once.
import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeDirectory, makeDirectorySync } from '#vitrine/util/make-directory.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

test('makes the folders above too, and leaves those that are there', async (t) => {
  const folder = await temporaryDirectory(t);
  const deep = join(folder, 'a', 'b', 'c');
  await makeDirectory(deep);
  await makeDirectory(deep);
  assert.ok((await stat(deep)).isDirectory());
  const other = join(folder, 'a', 'd', 'e');
  makeDirectorySync(other);
  makeDirectorySync(other);
  assert.ok((await stat(other)).isDirectory());
});

test('several at once may make the same folders', async (t) => {
  const folder = await temporaryDirectory(t);
  await Promise.all(Array.from({ length: 8 }, (_, i) => makeDirectory(join(folder, 'a', 'b', `${i % 2}`))));
  assert.ok((await stat(join(folder, 'a', 'b', '1'))).isDirectory());
});

test('a file in the way is named', async (t) => {
  const folder = await temporaryDirectory(t);
  const file = join(folder, 'file');
  await writeFile(file, '');
  const named = (error: NodeJS.ErrnoException): boolean => {
    assert.equal(error.code, 'EEXIST');
    return error.message.includes(file);
  };
  await assert.rejects(makeDirectory(join(file, 'below')), named);
  assert.throws(() => makeDirectorySync(join(file, 'below')), named);
});

test('a file system that makes no folders is an error', {
  skip: process.platform !== 'linux',
  timeout: 30_000,
}, async () => {
  await assert.rejects(makeDirectory('/proc/no-such-folder/below'), { code: 'ENOENT' });
  assert.throws(() => makeDirectorySync('/proc/no-such-folder/below'), { code: 'ENOENT' });
});

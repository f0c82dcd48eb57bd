import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { GzipFile } from '#vitrine/trace/write/gzip-file.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

test('rolling back forgets what was written since, also what was compressed already', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.gz');
  const file = new GzipFile(path);
  file.write('head é ');
  const mark = file.mark();
  file.write('x'.repeat(3_000_000));
  file.write('more');
  file.rollback(mark);
  file.write('middle ');
  const late = file.mark();
  file.writeBytes(Buffer.from('lost'));
  file.rollback(late);
  file.writeBytes(Buffer.from('__tail__'), 2, 6);
  assert.equal(existsSync(path), false);
  assert.equal(file.textBytes, Buffer.byteLength('head é middle tail'));
  file.commit();
  const bytes = readFileSync(path);
  assert.equal(gunzipSync(bytes).toString(), 'head é middle tail');
  assert.equal(file.fileBytes, bytes.length);
});

test('text of any size arrives whole: around the part size, beyond it, in bytes and in letters of every width', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.gz');
  const file = new GzipFile(path);
  const pieces = [1, 159, 160, 161, 349_524, 349_525, 349_526, 1_048_575, 1_048_576, 1_048_577, 3_000_000].flatMap(
    (size) => ['a'.repeat(size), '€'.repeat(size >> 3), '😀'.repeat(size >> 4)],
  );
  for (const piece of pieces) {
    file.write(piece);
    file.writeBytes(Buffer.from(piece));
  }
  file.commit();
  const text = gunzipSync(readFileSync(path)).toString();
  assert.ok(text === pieces.map((piece) => piece + piece).join(''), 'text differs');
});

test('an empty file is a gzip file; discarding leaves nothing, and nothing after commit()', async (t) => {
  const directory = await temporaryDirectory(t);
  const empty = new GzipFile(join(directory, 'a.gz'));
  empty.commit();
  empty.discard();
  assert.equal(gunzipSync(readFileSync(join(directory, 'a.gz'))).length, 0);
  new GzipFile(join(directory, 'b.gz')).discard();
  assert.deepEqual(readdirSync(directory), ['a.gz']);
});

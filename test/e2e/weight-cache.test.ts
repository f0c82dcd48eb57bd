// --weight-cache-dir as it is used: programs that start at once share one file, and a bad folder is a warning.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type RunOptions, runVitrine } from '../support/run-vitrine.js';
import { storiesModel } from '../support/running-server.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

function generate(weightCacheDir: string, more: readonly string[] = [], options: RunOptions = {}) {
  const prompt = ['--prompt', 'Once upon a time', '--max-new-tokens', '12', '--temperature', '0'];
  const cache = ['--weight-cache-dir', weightCacheDir, '--log-level', 'info'];
  return runVitrine(['generate', '--model-path', storiesModel, ...prompt, ...cache, ...more], options);
}

test('of two programs that start at once one writes the cache, and both say the same', async (t) => {
  const directory = join(await temporaryDirectory(t), 'made', 'by', 'the', 'program');
  const both = await Promise.all([generate(directory), generate(directory)]);
  for (const { code, err } of both) assert.equal(code, 0, err);
  const logs = both.map(({ err }) => err).join('');
  assert.equal(logs.match(/Packed weights written to /g)?.length, 1, logs);
  assert.equal(logs.match(/Weights mapped from /g)?.length, 1, logs);
  assert.equal(both[0].out, both[1].out);
  assert.ok(both[0].out.length > 20, both[0].out);

  const files = await readdir(directory);
  assert.deepEqual(
    files.map((file) => file.replace(/^[0-9a-f]{32}\./, '')),
    ['cpu-panels-1.weights'],
  );
  const file = join(directory, files.find((each) => each.endsWith('.weights'))!);
  await writeFile(file, 'not weights');
  const repaired = await generate(directory);
  assert.equal(repaired.out, both[0].out);
  assert.match(repaired.err, /Packed weights written to .*, in place of what was there: .* got 11/);
});

const noFlock = spawnSync('flock', ['--version']).error === undefined ? false : 'there is no flock program';

test('a program that waits for the one that writes says so once, and goes on', { skip: noFlock }, async (t) => {
  const directory = await temporaryDirectory(t);
  const expected = await generate(directory);
  const file = join(directory, (await readdir(directory))[0]!);
  await rename(file, `${file}.aside`); // there is nothing to map, and the lock is taken
  const holder = spawn('flock', [`${file}.lock`, 'sh', '-c', 'echo held; read end'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const waited = await generate(directory, [], {
    onError: (err) => {
      if (/Waiting for/.test(err)) holder.stdin.end();
    },
  });
  assert.equal(waited.code, 0, waited.err);
  assert.equal(waited.out, expected.out);
  const lines = waited.err.split('\n').filter((line) => line.includes('Wait'));
  assert.equal(lines.length, 2, waited.err);
  assert.ok(lines[0]!.includes(`another process writes: ${file}.lock is held by another process`), lines[0]);
  assert.match(lines[1]!, /Waited for them and had the weights after \d+\.\d s/);
});

test('a folder that cannot be made is a warning, a GPU an error', async (t) => {
  const file = join(await temporaryDirectory(t), 'file');
  await writeFile(file, '');
  const warned = await generate(join(file, 'folder'));
  assert.equal(warned.code, 0, warned.err);
  assert.match(warned.err, /Weights loaded without --weight-cache-dir: EEXIST: .*mkdir/);
  const refused = await generate(file, ['--device', 'cuda']);
  assert.equal(refused.code, 2);
  assert.match(refused.err, /--weight-cache-dir cannot be used with --device cuda/);
});

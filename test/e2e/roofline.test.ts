// --roofline against the real engine: what the programs print and save.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runVitrine } from '../support/run-vitrine.js';
import { RunningServer, storiesModel } from '../support/running-server.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const LINE = /(\d+) % of the (memory|compute) limit \(\S+ of \S+ (GB\/s|GFLOP\/s)\)/;

test('bench-one-batch prints and saves the share of the limit of each phase', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'result.jsonl');
  const args = ['bench-one-batch', '--model-path', storiesModel, '--batch-size', '2', '--input-len', '64'];
  const env = { XDG_CACHE_HOME: directory };
  const first = await runVitrine([...args, '--output-len', '8', '--roofline', '--result-filename', file], { env });
  assert.equal(first.code, 0, first.err);
  assert.match(first.out, /^Measuring what this machine can read and compute/m);
  assert.match(first.out, new RegExp(`^Roofline. prefill: ${LINE.source}$`, 'm'));
  assert.match(first.out, new RegExp(`^Roofline. decode: ${LINE.source}$`, 'm'));
  const { roofline } = JSON.parse(await readFile(file, 'utf8'));
  assert.ok(roofline.prefill.share > 0 && roofline.decode.share > 0);

  const second = await runVitrine([...args, '--output-len', '1', '--roofline', '--result-filename', ''], { env });
  assert.match(second.out, /^Limits of this machine: .* \(measured at 2\d+-.*; --measure-limits measures again\)$/m);
  assert.ok(!second.out.includes('Roofline. decode'), 'there is no decode step');
});

test('the programs that load a model refuse it on a GPU before they load one', async () => {
  for (const program of ['bench-one-batch', 'bench-offline-throughput']) {
    const run = await runVitrine([program, '--model-path', storiesModel, '--device', 'cuda', '--roofline']);
    assert.notEqual(run.code, 0);
    assert.match(run.err, /--roofline: knows the limits of processors, and the model runs on a GPU/);
  }
});

test('bench-offline-throughput tells it by kind of step', async (t) => {
  const directory = await temporaryDirectory(t);
  const run = await runVitrine(
    [
      ...['bench-offline-throughput', '--model-path', storiesModel, '--dataset-name', 'random', '--num-prompts', '4'],
      ...['--random-input', '32', '--random-output', '16', '--roofline'],
    ],
    { env: { XDG_CACHE_HOME: directory } },
  );
  assert.equal(run.code, 0, run.err);
  assert.match(run.out, new RegExp(`^Prefill steps: \\d+ in [\\d.]+ s, ${LINE.source}$`, 'm'));
  assert.match(run.out, new RegExp(`^Decode steps: \\d+ in [\\d.]+ s, ${LINE.source}$`, 'm'));
});

test('bench-serving tells the same of the server’s steps', async (t) => {
  const directory = await temporaryDirectory(t);
  const server = await RunningServer.start(['--model-path', storiesModel]);
  t.after(() => server.stop());
  const file = join(directory, 'result.jsonl');
  const run = await runVitrine(
    [
      ...['bench-serving', '--base-url', server.url, '--dataset-name', 'random', '--num-prompts', '6', '--roofline'],
      ...['--random-input', '32', '--random-output', '16', '--random-range-ratio', '1', '--output-file', file],
      ...['--max-concurrency', '2'],
    ],
    { env: { XDG_CACHE_HOME: directory } },
  );
  assert.equal(run.code, 0, run.err);
  assert.match(run.out, new RegExp(`^Decode steps: \\d+ in [\\d.]+ s, ${LINE.source}$`, 'm'));
  const { roofline } = JSON.parse(await readFile(file, 'utf8'));
  const { steps } = roofline.decode;
  assert.ok(steps > 0 && steps <= 6 * 15, `${steps} decode steps for 6 answers of 16 tokens`);
});

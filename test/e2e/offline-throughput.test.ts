// bench-offline-throughput as it is run: results, traces, and the ways it is ended.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type RunOptions, runVitrine } from '../support/run-vitrine.js';
import { storiesModel } from '../support/running-server.js';
import { SLOW_MODEL } from '../support/server-process.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const bench = (flags: readonly string[], options?: RunOptions) => {
  const fixed = ['--model-path', storiesModel, '--dataset-name', 'random', '--cpu-threads=1'];
  return runVitrine(['bench_offline_throughput', ...fixed, ...flags], options);
};
const SMALL = ['--random-input', '16', '--random-output', '8'];

test('the profile of several batches, as SGLang’s page asks for it', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'result.jsonl');
  const flags = ['--num-prompts', '10', '--profile', '--mem-frac=0.1', '--result-filename', file, ...SMALL];
  const { code, out, err } = await bench(flags, { env: { SGLANG_TORCH_PROFILER_DIR: directory } });
  assert.equal(code, 0, err);
  assert.equal(err, '');
  assert.match(out, new RegExp(`^New file detected: ${directory}/[\\d.]+-TP-0\\.trace\\.json\\.gz$`, 'm'));
  assert.match(out, /^Successful requests: +10 +$/m);
  assert.equal(JSON.parse(await readFile(file, 'utf8')).successful_requests, 10);
});

test('requests that cannot fit: told, and exit 1', async () => {
  const { code, out, err } = await bench([
    '--num-prompts',
    '4',
    '--random-input',
    '2000',
    '--skip-warmup',
    '--seed',
    '3',
  ]);
  assert.equal(code, 1);
  assert.match(err, /^\d of 4 requests failed:\n {2}\d × /m);
  assert.match(out, /^Failed requests: +\d +$/m);
});

test('--do-not-exit: until a signal comes', async () => {
  const { code, out } = await bench(['--num-prompts', '2', '--skip-warmup', '--do-not-exit', ...SMALL], {
    onOutput: (text, child) => {
      if (text.includes('Staying until')) child.kill('SIGTERM');
    },
  });
  assert.equal(code, 130);
  assert.match(out, /^Successful requests: +2 +$/m);
});

test('Ctrl-C while requests run', async () => {
  const long = ['--num-prompts', '3', '--random-input', '4', '--random-output', '9000', '--random-range-ratio', '1'];
  const { code, err } = await bench([...long, '--extra-request-body={"max_new_tokens": 9000}', ...SLOW_MODEL], {
    onOutput: (text, child) => {
      if (text.includes('Warmup...')) setTimeout(() => child.kill('SIGINT'), 1500);
    },
  });
  assert.equal(code, 130);
  assert.match(err, /Interrupted before anything was measured/);
});

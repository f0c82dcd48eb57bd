// bench-one-batch-server as it is run, with a server that it launches: results, and no process left however it ends.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/http.js';
import { type RunOptions, runVitrine } from '../support/run-vitrine.js';
import { storiesModel } from '../support/running-server.js';
import { isAlive, SLOW_MODEL } from '../support/server-process.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const serverPid = (err: string): number => Number(/Launching a server \(process (\d+)\)/.exec(err)![1]);

const bench = (flags: readonly string[], options?: RunOptions) =>
  runVitrine(['bench_one_batch_server', '--model-path', storiesModel, '--cpu-threads=1', ...flags], options);

test('a sweep on a launched server, with half of each prompt in the prefix cache', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'result.jsonl');
  const sweep = ['--batch', '1', '4', '--input-len', '64', '--output-len', '8', '--cache-hit-rate', '0.5'];
  const { code, out, err } = await bench([...sweep, '--result-filename', file, '--show-report', '--api-key', 'secret']);
  assert.equal(code, 0, err);
  const rows = (await readFile(file, 'utf8')).trimEnd().split('\n');
  assert.deepEqual(
    rows.map((line) => {
      const row = JSON.parse(line);
      assert.ok(row.last_ttft > 0 && row.last_ttft < row.latency);
      return [row.batch_size, row.input_len, row.output_len, row.cache_hit_rate];
    }),
    [
      [1, 64, 8, 0.5],
      [4, 64, 8, 0.5],
    ],
  );
  assert.match(out, /Warmup with batch_size=\[1, 4\]/);
  assert.match(out, /\| +n\/a \| +n\/a \| +0\.5000 \|$/m, 'no price of a CPU');
  assert.equal(isAlive(serverPid(err)), false);
});

test('--profile leaves a trace of each case', async (t) => {
  const directory = await temporaryDirectory(t);
  const flags = ['--input-len', '16', '--output-len', '8', '--skip-warmup', '--profile', '--profile-steps', '3'];
  const { code, out, err } = await bench([...flags, '--profile-output-dir', directory, '--result-filename', '']);
  assert.equal(code, 0, err);
  assert.match(out, /\/bs-1-il-16-[\d.]+-TP-0\.trace\.json\.gz: 3 steps/);
});

test('a server that cannot start, in its words', async () => {
  const { code, err } = await bench(['--max-total-tokens', '2000000000']);
  assert.equal(code, 1);
  assert.match(err, /vitrine: --max-total-tokens 2000000000 needs .* \[OUT_OF_MEMORY\]/);
  assert.equal(isAlive(serverPid(err)), false);
});

const LONG = ['--input-len', '8', '--output-len', '30000', '--skip-warmup', '--result-filename', '', ...SLOW_MODEL];
/** Does something once the request has been sent. */
const whenRunning = (act: (pid: number, kill: (signal: NodeJS.Signals) => void) => void): RunOptions => {
  let err = '';
  let done = false;
  return {
    onError: (text) => {
      err = text;
    },
    onOutput: (out, child) => {
      if (done || !out.includes('skip_token_capacity_threshold')) return;
      done = true;
      setTimeout(() => act(serverPid(err), (signal) => child.kill(signal)), 300);
    },
  };
};

test('Ctrl-C ends the request and the server', async () => {
  const { code, err } = await bench(
    LONG,
    whenRunning((_, kill) => kill('SIGINT')),
  );
  assert.equal(code, 130, err);
  assert.match(err, /Interrupted before the answer was complete/);
  assert.equal(isAlive(serverPid(err)), false);
});

test('a server that dies is reported with what is known', async () => {
  const { code, err } = await bench(
    LONG,
    whenRunning((pid) => process.kill(pid, 'SIGKILL')),
  );
  assert.equal(code, 1);
  assert.match(err, /vitrine: The server has ended \(signal SIGKILL\)/);
});

test('a program that is killed takes the server along', async () => {
  const { code, err } = await bench(
    LONG,
    whenRunning((_, kill) => kill('SIGKILL')),
  );
  assert.equal(code, null);
  await until(() => !isAlive(serverPid(err)), 'the server to end');
});

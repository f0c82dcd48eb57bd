// The programs of the profiler as they are run, against a real server: files that hold what was asked for, and the ways
// a wait ends.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type RunOptions, runVitrine } from '../support/run-vitrine.js';
import { RunningServer, storiesModel } from '../support/running-server.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf, traceProblems } from '../support/trace-checker.js';

let server: RunningServer;
before(async () => {
  server = await RunningServer.start(['--model-path', storiesModel]);
});
after(() => server.stop());

const vitrine = (args: readonly string[], directory: string, onError?: RunOptions['onError']) =>
  runVitrine(args, { env: { SGLANG_TORCH_PROFILER_DIR: directory }, ...(onError && { onError }) });

/** The trace files that a program printed. */
function tracesIn(out: string): string[] {
  return [...out.matchAll(/^(\/.*\.trace\.json\.gz): /gm)].map(([, path]) => path!);
}

function stepsIn(path: string): unknown[] {
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  const annotations = spansOf(trace, 'user_annotation').filter(({ name }) => name.startsWith('step ('));
  return annotations.sort((a, b) => a.ts - b.ts).map(({ args }) => args!.mode);
}

const generate = (tokens: number) =>
  server.post('/generate', { text: 'Once', sampling_params: { max_new_tokens: tokens, ignore_eos: true } });

test('profiler: waits for steps, then for the files; an idle server is not done', async (t) => {
  const directory = await temporaryDirectory(t);
  let sent: Promise<Response> | undefined;
  const { code, out, err } = await vitrine(['profiler', '--url', server.url, '--num-steps', '4'], directory, () => {
    // The first words on standard error are those of the wait.
    sent ??= generate(12);
  });
  assert.equal(code, 0, err);
  assert.equal((await sent!).status, 200);
  const [path, ...others] = tracesIn(out);
  assert.deepEqual(others, []);
  assert.deepEqual(stepsIn(path!), ['extend', 'decode', 'decode', 'decode']);
  assert.match(out, /: 4 steps \(\d+ to \d+\), \d+ events, /);
  assert.ok(existsSync(join(path!, '..', 'server_args.json')));
});

test('profiler: Ctrl-C ends the wait; the profile stands in the way of another until it is stopped', async (t) => {
  const directory = await temporaryDirectory(t);
  const flags = ['profiler', '--url', server.url];
  const waiting = await vitrine(flags, directory, (err, child) => {
    if (!err.includes('Interrupted')) child.kill('SIGINT');
  });
  assert.equal(waiting.code, 130);
  assert.match(waiting.err, /Interrupted: profile \S+ is still \w+, 0 of 5 steps recorded.*stop_profile` ends it/);
  const second = await vitrine(flags, directory);
  assert.equal(second.code, 1);
  assert.match(second.err, /HTTP 409 Conflict: .* in progress.*\[BENCH_FAILED\]/);
  assert.equal((await server.post('/stop_profile', {})).status, 200);
});

test('send-one --profile: the first steps of its request, by stage or not; a short answer ends its profile', async (t) => {
  const directory = await temporaryDirectory(t);
  const at = ['send-one', '--host', '127.0.0.1', '--port', new URL(server.url).port, '--profile'];
  const prompt = ['--prompt', 'Lily went to the park'];
  const whole = await vitrine([...at, ...prompt, '--max-new-tokens', '16'], directory);
  assert.equal(whole.code, 0, whole.err);
  assert.deepEqual(tracesIn(whole.out).map(stepsIn), [['extend', 'decode', 'decode']]);
  const other = ['--prompt', 'Tom saw a dog', '--max-new-tokens', '16', '--profile-by-stage', '--profile-steps', '1'];
  const staged = await vitrine([...at, ...other], directory);
  assert.equal(staged.code, 0, staged.err);
  assert.deepEqual(tracesIn(staged.out).map(stepsIn), [['extend'], ['decode']]);
  const short = await vitrine([...at, '--prompt', 'Max had a ball', '--max-new-tokens', '1'], directory);
  assert.equal(short.code, 0, short.err);
  assert.deepEqual(tracesIn(short.out).map(stepsIn), [['extend']]);
  assert.match(short.err, /holds 1 of 3 steps: recording was ended by stop/);
});

test('bench-serving --profile: a profile of the run and nothing else', async (t) => {
  const directory = await temporaryDirectory(t);
  const flags = [
    ...['bench-serving', '--base-url', server.url, '--dataset-name', 'random', '--num-prompts', '4', '--profile'],
    ...['--random-input', '8', '--random-output', '8', '--random-range-ratio', '1', '--max-concurrency', '1'],
    ...['--output-file', join(directory, 'result.jsonl')],
  ];
  const { code, out, err } = await vitrine(flags, directory);
  assert.equal(code, 0, err);
  const [steps] = tracesIn(out).map(stepsIn);
  const request = ['extend', ...Array(7).fill('decode')];
  // The scheduler runs a step ahead of what it knows: a request may be computed one step too long.
  assert.equal(steps!.filter((mode) => mode === 'extend').length, 4);
  assert.ok(steps!.length >= 4 * request.length, `${steps!.length} steps`);
});

// Profiles of a server as its users run it: two processes in one file, serving all the while.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, post } from '../support/http.js';
import { storiesServer } from '../support/server-process.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import {
  readTrace,
  recordingProblems,
  requestFlows,
  spansOf,
  stageProblems,
  stepsOf,
} from '../support/trace-checker.js';

const JSON_PLEASE = { headers: { accept: 'application/json' } };
const sampling_params = { temperature: 0, max_new_tokens: 20, ignore_eos: true };

test('a server’s profile has both processes, and every request from its arrival to its last byte', async (t) => {
  const dir = await temporaryDirectory(t);
  const server = storiesServer(t, [], { SGLANG_TORCH_PROFILER_DIR: dir });
  const url = await server.ready();
  assert.equal((await post(`${url}/start_profile`, '')).text, 'Start profiling.\n');
  const answers = await Promise.all(
    [true, false, true].map((stream, i) =>
      post(`${url}/generate`, { rid: `r${i}`, text: 'Once upon', sampling_params, stream }),
    ),
  );
  for (const { status, text } of answers) assert.equal(status, 200, text);
  const { status, body } = await post(`${url}/stop_profile`, '', JSON_PLEASE);
  assert.equal(status, 200);
  assert.deepEqual([body.state, body.ended_by, body.files.length], ['done', 'stop', 1]);
  const trace = readTrace(body.files[0].path);
  assert.deepEqual(recordingProblems(trace), []);
  assert.equal(stepsOf(trace).length, body.recorded_steps);
  const pids = (cat: string) => new Set(spansOf(trace, cat).map(({ pid }) => pid));
  const { pid } = server.child;
  const [rank] = server.ranks;
  for (const cat of ['http', 'tokenizer']) assert.deepEqual([...pids(cat)], [pid], cat);
  for (const cat of ['scheduler', 'cpu_op']) assert.deepEqual([...pids(cat)], [rank], cat);
  assert.deepEqual(pids('python_function'), new Set([pid, rank]));
  const flows = requestFlows(trace);
  assert.equal(flows.size, 3);
  for (const points of flows.values()) {
    assert.deepEqual([points[0]!.pid, points.at(-1)!.pid], [pid, pid]);
    assert.ok(points.filter((point) => point.pid === rank).length >= 20, `${points.length} points`);
  }
});

test('windows by stage are merged one by one; the front end is in both', async (t) => {
  const dir = await temporaryDirectory(t);
  const server = storiesServer(t);
  const url = await server.ready();
  const fields = { output_dir: dir, num_steps: '2', profile_by_stage: true, merge_profiles: true, with_stack: false };
  const { body: started } = await post(`${url}/start_profile`, fields, JSON_PLEASE);
  assert.equal((await post(`${url}/generate`, { text: 'Once', sampling_params })).status, 200);
  assert.equal((await post(`${url}/generate`, { text: 'Upon a time', sampling_params })).status, 200);
  let status = await get(`${url}/profile_status?profile_id=${started.profile_id}`);
  while (status.body.merge.state !== 'done') {
    assert.ok(['armed', 'recording', 'flushing', 'done'].includes(status.body.state), status.text);
    assert.notEqual(status.body.merge.state, 'failed', status.text);
    await new Promise((resolve) => setTimeout(resolve, 10));
    status = await get(`${url}/profile_status?profile_id=${started.profile_id}`);
  }
  const { files, merge } = status.body;
  assert.deepEqual(
    files.map(({ stage, steps }: Record<string, unknown>) => [stage, steps]),
    [
      ['EXTEND', 2],
      ['DECODE', 2],
    ],
  );
  for (const { path, stage } of files) {
    const trace = readTrace(path);
    assert.deepEqual([...recordingProblems(trace), ...stageProblems(trace, stage)], []);
    assert.ok(spansOf(trace, 'tokenizer').length > 0, `${stage}: nothing of the front end`);
  }
  assert.deepEqual(
    merge.files.map(({ path }: { path: string }) => path),
    ['EXTEND', 'DECODE'].map((stage) => join(dir, `merged-${started.profile_id}-${stage}.trace.json.gz`)),
  );
});

test('a server that is shut down while it records completes the file', async (t) => {
  const dir = await temporaryDirectory(t);
  const server = storiesServer(t);
  const url = await server.ready();
  assert.equal((await post(`${url}/start_profile`, { output_dir: dir })).status, 200);
  assert.equal((await post(`${url}/generate`, { text: 'Once', sampling_params })).status, 200);
  server.kill('SIGTERM');
  assert.equal(await server.exited, 'code 0');
  const [name, ...more] = await readdir(dir);
  assert.deepEqual(more, []);
  const trace = readTrace(join(dir, name!));
  assert.deepEqual(recordingProblems(trace), []);
  assert.equal(stepsOf(trace).length, 20);
  assert.ok(
    spansOf(trace, 'http').some(({ pid }) => pid === server.child.pid),
    'the front end’s spans are missing',
  );
});

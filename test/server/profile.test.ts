// /start_profile, /stop_profile, /end_profile and /profile_status over a fake rank.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ProfileRequest } from '#vitrine/messages/profile.js';
import { type FakeServerOptions, startFakeServer } from '../support/fake-server.js';
import { type Answer, get, post, until } from '../support/http.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace } from '../support/trace-checker.js';

const JSON_PLEASE = { headers: { accept: 'application/json' } };
const START_TEXT = 'Start profiling.\n';
const STOP_TEXT = 'Stop profiling. This will take some time.\n';

async function setUp(t: Parameters<typeof startFakeServer>[0], options: FakeServerOptions = {}) {
  const dir = await temporaryDirectory(t);
  const server = await startFakeServer(t, { ...options, env: { SGLANG_TORCH_PROFILER_DIR: dir, ...options.env } });
  const { url, scheduler } = server;
  const start = (body: unknown = '') => post(`${url}/start_profile`, body, JSON_PLEASE);
  const stop = () => post(`${url}/stop_profile`, '', JSON_PLEASE);
  /** What the rank is told for a body; the profile is called off again. */
  const ordered = async (body: unknown): Promise<ProfileRequest> => {
    const answer = await start(body);
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await stop()).status, 200);
    return scheduler.profiler.requests.at(-1)!;
  };
  return { ...server, dir, start, stop, ordered };
}

function assertRefused(answer: Answer, status: number, ...words: readonly (string | RegExp)[]): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.object, 'error', answer.text);
  assert.equal(answer.body.code, status);
  for (const word of words) assert.match(answer.body.message, typeof word === 'string' ? new RegExp(word) : word);
}

test('a client like SGLang’s profiler: it asks for the server, starts with what it always sends, looks for files', async (t) => {
  const { url, dir, scheduler } = await setUp(t);
  assert.equal((await get(`${url}/get_server_info`)).status, 200);
  const response = await fetch(`${url}/start_profile`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: '*/*', 'user-agent': 'python-requests/2.32' },
    body: JSON.stringify({
      output_dir: join(dir, '1769071195.6634595'),
      num_steps: '5',
      activities: ['CPU', 'GPU'],
      profile_by_stage: false,
      merge_profiles: false,
      profile_prefix: null,
    }),
  });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type')!, /^text\/plain/);
  assert.equal(await response.text(), START_TEXT);
  const [order] = scheduler.profiler.requests;
  assert.equal(order!.numSteps, 5);
  assert.equal(order!.prefix, '');
  for (let i = 0; i < 5; i++) scheduler.step();
  await until(() => scheduler.profiler.state === 'done');
  assert.deepEqual(await readdir(join(dir, '1769071195.6634595')), [`${order!.profileId}-TP-0.trace.json.gz`]);
});

test('the texts are SGLang’s on both methods, with and without a body, for /end_profile too', async (t) => {
  const { url } = await setUp(t);
  const text = async (path: string, init: RequestInit): Promise<string> => {
    const response = await fetch(url + path, init);
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type')!, /^text\/plain/);
    return response.text();
  };
  for (const method of ['GET', 'POST']) {
    for (const stop of ['/stop_profile', '/end_profile']) {
      assert.equal(await text('/start_profile', { method }), START_TEXT);
      assert.equal(await text(stop, { method, headers: { accept: '*/*' } }), STOP_TEXT);
    }
  }
  for (const init of [
    { headers: { 'content-type': 'application/json' } },
    { body: '', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
    { body: 'null', headers: { 'content-type': 'application/json' } },
    { body: new TextEncoder().encode('{"num_steps":3}') }, // no content type
  ]) {
    assert.equal(await text('/start_profile', { method: 'POST', ...init }), START_TEXT, JSON.stringify(init));
    await text('/stop_profile', { method: 'POST' });
  }
});

test('defaults: as SGLang’s, with bounds of our own', async (t) => {
  const { ordered, dir } = await setUp(t);
  const { profileId, ...order } = await ordered('');
  assert.match(profileId, /^\d{10}\.\d+$/);
  assert.ok(Math.abs(Number(profileId) - Date.now() / 1000) < 60);
  assert.deepEqual(order, {
    outputDir: dir,
    prefix: '',
    activities: ['CPU', 'GPU'],
    startStep: null,
    startIn: null,
    numSteps: null,
    stages: null,
    withStack: true,
    recordShapes: true,
    maxSeconds: 600,
    maxBytes: 2 * 2 ** 30,
  });
  const nulls = { output_dir: null, start_step: null, start_in: null, num_steps: null, activities: null };
  const { profileId: again, ...same } = await ordered({
    ...nulls,
    with_stack: null,
    record_shapes: null,
    merge_profiles: null,
    profile_prefix: null,
    profile_stages: null,
    max_seconds: null,
    max_bytes: null,
    unknown_to_all: { of: 'us' },
  });
  assert.deepEqual(same, order);
  assert.ok(Number(again) > Number(profileId));
});

test('fields reach the rank; numbers may be text, 0 steps are none', async (t) => {
  const { ordered, dir } = await setUp(t);
  const { profileId: _, ...order } = await ordered({
    output_dir: join(dir, 'a'),
    start_step: ' 7 ',
    num_steps: '12',
    activities: ['MEM', 'CUDA_PROFILER', 'MEM'],
    with_stack: false,
    record_shapes: 'false',
    profile_prefix: 'run-1',
    max_seconds: '2.5',
    max_bytes: '1000000',
  });
  assert.deepEqual(order, {
    outputDir: join(dir, 'a'),
    prefix: 'run-1',
    activities: ['MEM', 'CUDA_PROFILER'],
    startStep: 7,
    startIn: null,
    numSteps: 12,
    stages: null,
    withStack: false,
    recordShapes: false,
    maxSeconds: 2.5,
    maxBytes: 1_000_000,
  });
  const none = await ordered({ start_step: 0, num_steps: '0', start_in: '3' });
  assert.deepEqual([none.startStep, none.numSteps, none.startIn], [null, null, 3]);
});

test('stages, in any case and either word', async (t) => {
  const { ordered } = await setUp(t);
  assert.deepEqual((await ordered({ profile_by_stage: true, num_steps: 2 })).stages, ['EXTEND', 'DECODE']);
  assert.deepEqual((await ordered({ profile_by_stage: true, profile_stages: ['Decode'] })).stages, ['DECODE']);
  const both = await ordered({ profile_by_stage: true, profile_stages: ['PREFILL', 'extend', 'decode'] });
  assert.deepEqual(both.stages, ['EXTEND', 'DECODE']);
});

test('directories: of the home directory, of the working directory', async (t) => {
  const home = await temporaryDirectory(t);
  const { scheduler, start } = await setUp(t, {
    env: { HOME: home },
    profiler: { refuse: () => ({ code: 'TRACE_NOT_WRITTEN', message: 'no', param: null }) },
  });
  const directory = async (output_dir: string) => {
    await start({ output_dir });
    return scheduler.profiler.requests.at(-1)!.outputDir;
  };
  assert.equal(await directory('~/traces'), join(home, 'traces'));
  assert.equal(await directory('~'), home);
  assert.equal(await directory('~other'), join(process.cwd(), '~other'));
  assert.equal(await directory('here/../there'), join(process.cwd(), 'there'));
});

test('the environment: its directory, and its false wins', async (t) => {
  const { ordered } = await setUp(t, {
    env: { SGLANG_PROFILE_WITH_STACK: 'No', SGLANG_PROFILE_RECORD_SHAPES: '0' },
  });
  const order = await ordered({ with_stack: true, record_shapes: true });
  assert.deepEqual([order.withStack, order.recordShapes], [false, false]);
});

test('every mistake is a 400 that names the field, what was expected and what came', async (t) => {
  const { start, scheduler } = await setUp(t);
  const cases: readonly [unknown, ...RegExp[]][] = [
    [{ output_dir: 5 }, /output_dir/, /string/, /5/],
    [{ output_dir: 'a\0b' }, /output_dir/, /NUL/],
    [{ start_step: -1 }, /start_step/, /at least 0/, /-1/],
    [{ start_step: 1.5 }, /start_step/, /integer/, /1\.5/],
    [{ start_step: 'soon' }, /start_step/, /integer/, /soon/],
    [{ start_step: true }, /start_step/, /integer/, /true/],
    [{ start_step: 5, start_in: 5 }, /start_in/, /start_step/],
    [{ start_step: 5, start_in: 0 }, /start_in/, /start_step/],
    [{ start_in: -1 }, /start_in/, /at least 0/],
    [{ num_steps: -5 }, /num_steps/, /at least 0/, /-5/],
    [{ num_steps: '5 steps' }, /num_steps/, /integer/],
    [{ num_steps: '' }, /num_steps/, /integer/],
    [{ num_steps: 1e300 }, /num_steps/, /at most/],
    [{ num_steps: [5] }, /num_steps/, /integer/, /array/],
    [{ activities: [] }, /activities/, /CPU, GPU, MEM, CUDA_PROFILER/, /empty/],
    [{ activities: ['CPU', 'RPD'] }, /activities/, /CPU, GPU, MEM, CUDA_PROFILER/, /RPD/],
    [{ activities: ['cpu'] }, /activities/, /CPU, GPU/, /cpu/],
    [{ activities: 'CPU' }, /activities/, /array of strings/],
    [{ activities: ['CPU', null] }, /activities\[1\]/, /null/],
    [{ profile_by_stage: null }, /profile_by_stage/, /true or false/, /null/],
    [{ profile_by_stage: 'perhaps' }, /profile_by_stage/, /true or false/, /perhaps/],
    [{ profile_stages: ['decode'] }, /profile_stages/, /profile_by_stage/],
    [{ profile_by_stage: true, profile_stages: [] }, /profile_stages/, /empty/],
    [{ profile_by_stage: true, profile_stages: ['constructor'] }, /profile_stages/, /prefill/, /constructor/],
    [{ with_stack: 2 }, /with_stack/, /true or false/, /2/],
    [{ record_shapes: {} }, /record_shapes/, /true or false/],
    [{ merge_profiles: 'maybe' }, /merge_profiles/, /true or false/],
    [{ profile_prefix: '../up' }, /profile_prefix/, /letters/, /\.\.\/up/],
    [{ profile_prefix: 'a/b' }, /profile_prefix/],
    [{ profile_prefix: 7 }, /profile_prefix/, /string/],
    [{ max_seconds: 0 }, /max_seconds/, /above 0/],
    [{ max_seconds: 'NaN' }, /max_seconds/, /number/],
    [{ max_bytes: 0 }, /max_bytes/, /at least 1/],
    [{ max_bytes: 1.5 }, /max_bytes/, /integer/],
    [{ profile_id: 'mine' }, /profile_id/],
    [[], /JSON object/, /array/],
    ['{', /JSON/],
    ['"text"', /JSON object/],
  ];
  for (const [body, ...words] of cases) assertRefused(await start(body), 400, ...words);
  assert.equal(scheduler.profiler.requests.length, 0);
});

test('a GET takes the fields from its query, or from a body', async (t) => {
  const { url, scheduler, stop } = await setUp(t);
  const last = () => scheduler.profiler.requests.at(-1)!;
  const query =
    'num_steps=4&activities=CPU,MEM&profile_by_stage=true&profile_stages=decode&with_stack=False&start_in=2';
  assert.equal((await get(`${url}/start_profile?${query}`)).status, 200);
  assert.deepEqual([last().numSteps, last().startIn, last().withStack], [4, 2, false]);
  assert.deepEqual(last().activities, ['CPU', 'MEM']);
  assert.deepEqual(last().stages, ['DECODE']);
  await stop();
  assert.equal((await get(`${url}/start_profile?activities=MEM&activities=CPU`)).status, 200);
  assert.deepEqual(last().activities, ['MEM', 'CPU']);
  await stop();
  assertRefused(await get(`${url}/start_profile?num_steps=many`), 400, /num_steps/, /many/);
  const getWithBody = (body: string) =>
    new Promise<number>((resolve, reject) => {
      const request = httpRequest(`${url}/start_profile`, {
        method: 'GET',
        headers: { 'content-length': body.length },
      });
      request.on('response', (response) => response.resume().on('end', () => resolve(response.statusCode!)));
      request.on('error', reject);
      request.end(body);
    });
  assert.equal(await getWithBody('{"num_steps":9}'), 200);
  assert.equal(last().numSteps, 9);
  await stop();
  assert.equal(await getWithBody('{"num_steps":'), 400);
});

test('with Accept: application/json the whole account comes back', async (t) => {
  const { url, start, stop, scheduler, dir } = await setUp(t);
  for (let i = 0; i < 3; i++) scheduler.step();
  const started = await start({ start_in: 1, num_steps: 4 });
  assert.equal(started.status, 200);
  const id = started.body.profile_id;
  const untold = {
    first_step: null,
    last_step: null,
    ended_by: null,
    warnings: [],
    files: [],
    merge: null,
    error: null,
  };
  const common = { profile_id: id, activities: ['CPU', 'GPU'], output_dir: dir, planned_steps: 4 };
  assert.deepEqual(started.body, { ...common, ...untold, state: 'armed', recorded_steps: 0, forward_steps: 3 });
  scheduler.step();
  scheduler.step();
  scheduler.step();
  const { body: running } = await get(`${url}/profile_status`);
  assert.equal(running.state, 'recording');
  assert.equal(running.forward_steps, 6);
  const { status, body: done } = await stop();
  assert.equal(status, 200);
  assert.deepEqual(done, {
    ...common,
    state: 'done',
    recorded_steps: 2,
    first_step: 5,
    last_step: 6,
    ended_by: 'stop',
    warnings: [],
    files: [
      {
        path: join(dir, `${id}-TP-0.trace.json.gz`),
        kind: 'trace',
        stage: null,
        steps: 2,
        first_step: 5,
        last_step: 6,
        bytes: 100,
        text_bytes: 1000,
        events: 1,
        dropped_records: 0,
      },
    ],
    merge: null,
    error: null,
    forward_steps: 6,
  });
  assert.deepEqual((await get(`${url}/profile_status`)).body, done);
  assert.deepEqual((await get(`${url}/profile_status?profile_id=${id}`)).body, done);
});

test('before the first profile the status is idle; an unknown id is not found', async (t) => {
  const { url, scheduler } = await setUp(t);
  scheduler.step();
  const { status, body } = await get(`${url}/profile_status`);
  assert.equal(status, 200);
  assert.deepEqual([body.state, body.profile_id, body.forward_steps, body.files], ['idle', null, 1, []]);
  assertRefused(await get(`${url}/profile_status?profile_id=1.5`), 404, /1\.5/);
});

test('a second start is refused with the id of the first, which goes on; a stop without a start is refused', async (t) => {
  const { start, stop, scheduler } = await setUp(t);
  assertRefused(await stop(), 409, /^Profiling is not in progress\. Call \/start_profile first\.$/);
  const { body } = await start();
  assertRefused(await start(), 409, body.profile_id, /recording/, /\/stop_profile/);
  scheduler.step();
  assert.equal((await stop()).body.recorded_steps, 1);
  assertRefused(await stop(), 409, /not in progress/);
  assert.equal((await start()).status, 200);
});

test('while files are completed a start is refused, a stop waits', async (t) => {
  const { url, start, stop, scheduler } = await setUp(t, { profiler: { slow: true } });
  const { body } = await start({ num_steps: 1 });
  scheduler.step();
  await until(() => scheduler.profiler.state === 'flushing');
  assertRefused(await start(), 409, body.profile_id, /\/profile_status/);
  assert.equal((await get(`${url}/profile_status`)).body.state, 'flushing');
  const stopped = stop();
  assert.equal((await post(`${url}/generate`, { text: 'Once', sampling_params: { max_new_tokens: 2 } })).status, 200);
  scheduler.profiler.complete();
  const answer = await stopped;
  assert.deepEqual([answer.status, answer.body.state, answer.body.ended_by], [200, 'done', 'num_steps']);
});

test('a stop calls off a profile that waits for its first step', async (t) => {
  const { start, stop, dir, scheduler } = await setUp(t);
  assert.equal((await start({ start_step: 100, num_steps: 5 })).body.state, 'armed');
  scheduler.step();
  const { body } = await stop();
  assert.deepEqual([body.state, body.recorded_steps, body.files, body.ended_by], ['done', 0, [], 'stop']);
  assert.deepEqual(await readdir(dir), []);
  assert.equal((await start()).status, 200);
});

test('a directory that cannot be written is the client’s mistake; serving goes on', async (t) => {
  const { url, start, dir } = await setUp(t);
  writeFileSync(join(dir, 'file'), '');
  const answer = await start({ output_dir: join(dir, 'file', 'below') });
  assertRefused(answer, 400, /file\/below/);
  assert.equal(answer.body.param, 'output_dir');
  assert.equal((await get(`${url}/profile_status`)).body.state, 'idle');
  assert.equal((await post(`${url}/generate`, { text: 'Once' })).status, 200);
  assert.equal((await start()).status, 200);
});

test('a rank’s refusal keeps its words, field and status', async (t) => {
  const error = { code: 'INVALID_REQUEST', message: 'CUDA_PROFILER needs a CUDA device.', param: 'activities' };
  const { start } = await setUp(t, { profiler: { refuse: () => error } });
  const answer = await start({ activities: ['CUDA_PROFILER'] });
  assertRefused(answer, 400, /needs a CUDA device/);
  assert.equal(answer.body.param, 'activities');
});

test('files that cannot be completed are a 500 with the reason, kept in the status', async (t) => {
  const failure = { code: 'TRACE_NOT_WRITTEN', message: 'The disk is full.', param: null };
  const { url, start, stop, scheduler } = await setUp(t, { profiler: { failure } });
  await start({ merge_profiles: true });
  scheduler.step();
  assertRefused(await stop(), 500, /The disk is full/);
  const { body } = await get(`${url}/profile_status`);
  assert.deepEqual([body.state, body.error, body.ended_by], ['failed', failure, 'error']);
  assert.equal(body.merge.state, 'failed');
  assert.equal((await start()).status, 200);
});

test('merge_profiles: one merged file a stage, told by stop and status', async (t) => {
  const { url, start, stop, scheduler, dir } = await setUp(t);
  const { body: started } = await start({ merge_profiles: true, profile_by_stage: true, profile_prefix: 'run' });
  assert.deepEqual(started.merge, { state: 'waiting', files: [], error: null });
  scheduler.step();
  const { body } = await stop();
  assert.deepEqual([body.merge.state, body.merge.error], ['done', null]);
  assert.deepEqual(
    body.merge.files.map((file: Record<string, unknown>) => [file.path, file.stage, file.sources, file.skipped]),
    ['EXTEND', 'DECODE'].map((stage) => [
      join(dir, `merged-${body.profile_id}-${stage}.trace.json.gz`),
      stage,
      [join(dir, `run-${body.profile_id}-TP-0-${stage}.trace.json.gz`)],
      [],
    ]),
  );
  for (const { path, events } of body.merge.files) assert.equal(readTrace(path).traceEvents.length, events);
  assert.deepEqual((await get(`${url}/profile_status`)).body, body);
});

test('a merge that fails is told, and fails nothing', async (t) => {
  const { start, stop, scheduler } = await setUp(t, { profiler: { write: (path) => writeFileSync(path, 'no trace') } });
  await start({ merge_profiles: true });
  scheduler.step();
  const { status, body } = await stop();
  assert.deepEqual([status, body.state, body.files.length], [200, 'done', 1]);
  assert.equal(body.merge.state, 'failed');
  assert.match(body.merge.error, /No trace file could be merged/);
});

test('starting and stopping take the admin key, the status the normal one', async (t) => {
  const { url } = await setUp(t, { options: { apiKey: 'user', adminApiKey: 'admin' } });
  const status = async (path: string, key: string, method = 'POST') => {
    const response = await fetch(url + path, { method, headers: { authorization: `Bearer ${key}` } });
    return response.status;
  };
  for (const path of ['/start_profile', '/stop_profile', '/end_profile']) {
    assert.equal(await status(path, 'user'), 401, path);
    assert.equal(await status(path, 'user', 'GET'), 401, path);
  }
  assert.equal(await status('/start_profile', 'admin'), 200);
  assert.equal(await status('/end_profile', 'admin', 'GET'), 200);
  assert.equal(await status('/profile_status', 'admin', 'GET'), 401);
  assert.equal(await status('/profile_status', 'user', 'GET'), 200);
});

test('a stop whose engine dies gets the reason', async (t) => {
  const { start, stop, scheduler, profiles } = await setUp(t, { profiler: { slow: true } });
  await start();
  scheduler.step();
  const stopped = stop();
  await until(() => scheduler.profiler.state === 'flushing');
  scheduler.die('A step failed: out of luck.');
  assertRefused(await stopped, 500, /out of luck/);
  const status = await profiles.status();
  assert.deepEqual([status!.state, status!.endedBy, status!.error!.code], ['failed', 'error', 'ENGINE_FAILED']);
});

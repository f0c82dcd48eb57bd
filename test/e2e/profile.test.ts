// Profiles of a real server, as its users take them: under load, by hand, by stage, and with everything going wrong. The
// traces are read by the independent checker.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { RandomChoices } from '../support/random-choices.js';
import { RunningServer, storiesModel } from '../support/running-server.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import {
  type CheckedTrace,
  expectedSteps,
  readTrace,
  recordingProblems,
  requestFlows,
  spansOf,
  stageProblems,
  stepsOf,
  traceProblems,
} from '../support/trace-checker.js';

interface Status {
  readonly profile_id: string;
  readonly state: string;
  readonly recorded_steps: number;
  readonly planned_steps: number | null;
  readonly first_step: number | null;
  readonly ended_by: string | null;
  readonly forward_steps: number;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly merge: { readonly state: string; readonly files: readonly { readonly path: string }[] } | null;
  readonly files: readonly {
    readonly path: string;
    readonly kind: string;
    readonly stage: 'EXTEND' | 'DECODE' | null;
    readonly steps: number;
    readonly dropped_records: number;
  }[];
}

const JSON_REPLY = { headers: { 'content-type': 'application/json', accept: 'application/json' } };
const MODEL = ['--model-path', storiesModel, '--max-running-requests', '32', '--max-total-tokens', '8192'];

async function ask(server: RunningServer, path: string, body: object = {}): Promise<Status> {
  const response = await server.post(path, body, JSON_REPLY);
  const text = await response.text();
  assert.equal(response.status, 200, `${path}: ${text}`);
  return JSON.parse(text) as Status;
}

async function status(server: RunningServer): Promise<Status> {
  return (await (await fetch(`${server.url}/profile_status`, JSON_REPLY)).json()) as Status;
}

/** The status once the profile is over; a profile that does not end fails its own test, not the whole suite. */
async function ended(server: RunningServer): Promise<Status> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const now = await status(server);
    if (now.state === 'done' || now.state === 'failed') return now;
    assert.ok(performance.now() < deadline, `the profile does not end: ${JSON.stringify(now)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** One request; streamed ones are read to their end. */
async function generate(server: RunningServer, text: string, tokens: number, stream = false): Promise<void> {
  const response = await server.post('/generate', {
    text,
    stream,
    sampling_params: { temperature: 0, max_new_tokens: tokens, ignore_eos: true },
  });
  assert.equal(response.status, 200);
  await response.text();
}

function load(server: RunningServer, count: number, tokens: number, stream = true): Promise<unknown> {
  return Promise.all(
    Array.from({ length: count }, (_, i) => generate(server, `Once upon a time ${i}`, tokens, stream && i % 2 === 0)),
  );
}

/** Load that does not end before `isOver`: a profile counts steps, and on a busy machine it may start late. */
async function loadUntil(server: RunningServer, isOver: () => boolean, count: number, tokens: number): Promise<void> {
  while (!isOver()) await load(server, count, tokens);
}

/** The one trace of a profile that went well. */
function onlyTrace(profile: Status): CheckedTrace {
  assert.equal(profile.state, 'done', JSON.stringify(profile));
  assert.equal(profile.files.length, 1);
  const trace = readTrace(profile.files[0]!.path);
  assert.deepEqual(recordingProblems(trace), []);
  return trace;
}

describe('profiles of one server', { timeout: 600_000 }, () => {
  let server: RunningServer;

  before(async () => {
    server = await RunningServer.start(MODEL);
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  it('num_steps under load: exact, covered, with arrows from arrival to last byte', async (t) => {
    const directory = await temporaryDirectory(t);
    const started = await ask(server, '/start_profile', { output_dir: directory, num_steps: '12' });
    assert.equal(started.planned_steps, 12);
    await load(server, 6, 30);
    const profile = await ended(server);
    const trace = onlyTrace(profile);
    assert.equal(profile.recorded_steps, 12);
    assert.deepEqual(expectedSteps(trace, started.forward_steps + 1, 12), []);
    assert.ok(spansOf(trace, 'scheduler').length > 12, 'phases of the scheduler');
    assert.ok(spansOf(trace, 'tokenizer').length > 0, 'spans of the tokenizer');
    assert.ok(spansOf(trace, 'http').length > 0, 'spans of HTTP');
    assert.ok(spansOf(trace, 'cpu_op').length > 12 * 20, 'native ops');
    assert.ok(requestFlows(trace).size >= 1, 'arrows of the requests that were in time');
    const processes = new Set(spansOf(trace, 'http').map((event) => event.pid));
    assert.ok(!processes.has(stepsOf(trace)[0]!.event.pid), 'HTTP is in another process than the engine');
  });

  it('a whole request: its arrow begins in the front end, passes every step and ends there', async (t) => {
    const directory = await temporaryDirectory(t);
    await ask(server, '/start_profile', { output_dir: directory, with_stack: false });
    await generate(server, 'There was a little dog', 8, true);
    const trace = onlyTrace(await ask(server, '/stop_profile'));
    const [points] = [...requestFlows(trace).values()];
    const frontEnd = spansOf(trace, 'http')[0]!.pid;
    assert.deepEqual([points![0]!.ph, points!.at(-1)!.ph], ['s', 'f']);
    assert.deepEqual([points![0]!.pid, points!.at(-1)!.pid], [frontEnd, frontEnd]);
    const engine = stepsOf(trace)[0]!.event;
    const inSteps = points!.filter((point) => point.pid === engine.pid && point.tid === engine.tid);
    assert.ok(inSteps.length >= 8, `${inSteps.length} points in steps`);
    assert.deepEqual(spansOf(trace, 'python_function'), []);
  });

  it('status counts the steps as they are recorded', async (t) => {
    const directory = await temporaryDirectory(t);
    await ask(server, '/start_profile', { output_dir: directory, num_steps: 1000 });
    await generate(server, 'Once', 10);
    const { state, recorded_steps: recorded } = await status(server);
    assert.equal(state, 'recording');
    assert.ok(recorded >= 10, `${recorded} steps`);
    assert.equal((await ask(server, '/stop_profile')).ended_by, 'stop');
  });

  it('with_stack: sampled JavaScript of both processes', async (t) => {
    const directory = await temporaryDirectory(t);
    await ask(server, '/start_profile', { output_dir: directory });
    for (let i = 0; i < 3; i++) await load(server, 8, 150);
    const trace = onlyTrace(await ask(server, '/stop_profile'));
    assert.equal(new Set(spansOf(trace, 'python_function').map((event) => event.pid)).size, 2);
  });

  it('by stage, with a merged file for each', async (t) => {
    const directory = await temporaryDirectory(t);
    await ask(server, '/start_profile', {
      output_dir: directory,
      num_steps: 4,
      profile_by_stage: true,
      merge_profiles: true,
      profile_prefix: 'my-run',
    });
    for (let i = 0; i < 5; i++) await load(server, 2, 6);
    const profile = await ended(server);
    assert.deepEqual(
      profile.files.map(({ stage, steps }) => [stage, steps]),
      [
        ['EXTEND', 4],
        ['DECODE', 4],
      ],
    );
    for (const { path, stage } of profile.files) {
      const trace = readTrace(path);
      assert.deepEqual(recordingProblems(trace), [], path);
      assert.deepEqual(stageProblems(trace, stage!), []);
      assert.ok(path.includes(`my-run-${profile.profile_id}-TP-0-${stage}`), path);
    }
    while ((await status(server)).merge!.state === 'running') await new Promise((resolve) => setTimeout(resolve, 20));
    const { merge } = await status(server);
    assert.equal(merge!.state, 'done');
    assert.deepEqual(
      merge!.files.map(({ path }) => path),
      ['EXTEND', 'DECODE'].map((stage) => join(directory, `merged-${profile.profile_id}-${stage}.trace.json.gz`)),
    );
    for (const { path } of merge!.files) assert.ok(stepsOf(readTrace(path)).length === 4, path);
  });

  it('an unwritable directory: the reason in the reply, and serving goes on', async (t) => {
    const directory = await temporaryDirectory(t);
    writeFileSync(join(directory, 'file'), '');
    const response = await server.post('/start_profile', { output_dir: join(directory, 'file', 'below') });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /not a directory/);
    await generate(server, 'Once', 4);
  });

  it('asking with HEAD whether the routes are there does nothing', async () => {
    for (const path of ['/start_profile', '/stop_profile', '/flush_cache']) {
      assert.equal((await fetch(server.url + path, { method: 'HEAD' })).status, 404, path);
    }
    await generate(server, 'Once', 2);
  });

  it('files that cannot be completed fail their profile alone', async (t) => {
    const directory = await temporaryDirectory(t);
    const target = join(directory, 'gone');
    await ask(server, '/start_profile', { output_dir: target, activities: ['CPU', 'MEM'] });
    await generate(server, 'Once', 4);
    rmSync(target, { recursive: true });
    writeFileSync(target, '');
    const response = await server.post('/stop_profile', {}, JSON_REPLY);
    assert.equal(response.status, 500);
    assert.equal((await status(server)).state, 'failed');
    await generate(server, 'Once', 4);
    await ask(server, '/start_profile', { output_dir: directory, num_steps: 2 });
    await generate(server, 'Once', 4);
    onlyTrace(await ended(server));
  });

  it('start_in counts from now, also under load', async (t) => {
    const directory = await temporaryDirectory(t);
    let isOver = false;
    const busy = loadUntil(server, () => isOver, 4, 100);
    try {
      const { forward_steps: now } = await ask(server, '/start_profile', {
        output_dir: directory,
        start_in: 7,
        num_steps: 2,
      });
      const { first_step: first } = await ended(server);
      assert.ok(first! >= now + 7, `step ${first} after ${now}`);
    } finally {
      isOver = true;
      await busy;
    }
  });

  it('max_seconds ends a recording to which no step comes', async (t) => {
    const directory = await temporaryDirectory(t);
    await ask(server, '/start_profile', { output_dir: directory, max_seconds: 0.05 });
    assert.equal((await ended(server)).ended_by, 'max_seconds');
    const tooLong = await server.post('/start_profile', { max_seconds: 1e7 });
    assert.equal(tooLong.status, 400);
    assert.match(await tooLong.text(), /max_seconds/);
  });

  it('CUDA_PROFILER without CUDA: the reason in the reply, and serving goes on', async (t) => {
    const directory = await temporaryDirectory(t);
    const response = await server.post('/start_profile', { output_dir: directory, activities: ['CUDA_PROFILER'] });
    // Where there is CUDA it works; here the point is that it does not hang and says why.
    if (response.status === 200) {
      await ask(server, '/stop_profile');
    } else {
      assert.equal(response.status, 400);
      assert.match(await response.text(), /CUDA/i);
    }
    await generate(server, 'Once', 4);
  });

  it('random starts and stops under load leave whole files and a server that serves', async (t) => {
    const directory = await temporaryDirectory(t);
    const random = new RandomChoices(7);
    let isOver = false;
    const busy = loadUntil(server, () => isOver, 3, 20);
    try {
      for (let round = 0; round < 25; round++) {
        const { forward_steps: now } = await status(server);
        const body = {
          output_dir: directory,
          num_steps: random.pick([undefined, 1, 3, 20]),
          start_step: random.pick([undefined, undefined, now + 5, 1]),
          profile_by_stage: random.pick([false, false, true]),
          with_stack: random.pick([true, false]),
          activities: random.pick([['CPU'], ['CPU', 'GPU'], ['CPU', 'MEM'], ['GPU']]),
        };
        const start = await server.post('/start_profile', body, JSON_REPLY);
        assert.ok([200, 409].includes(start.status), `start: ${start.status}`);
        await new Promise((resolve) => setTimeout(resolve, random.pick([0, 1, 10, 60])));
        const stop = await server.post(random.pick(['/stop_profile', '/end_profile']), {}, JSON_REPLY);
        assert.ok([200, 409].includes(stop.status), `stop: ${stop.status}`);
      }
      await server.post('/stop_profile', {}, JSON_REPLY);
    } finally {
      isOver = true;
      await busy;
    }
    await generate(server, 'Still here', 4);
    const names = readdirSync(directory);
    assert.deepEqual(
      names.filter((name) => name.startsWith('.')),
      [],
      'temporary files are left',
    );
    for (const name of names.filter((candidate) => candidate.endsWith('.trace.json.gz'))) {
      const trace = readTrace(join(directory, name));
      // Without CPU the steps have nothing in them.
      const hasHost = (trace.activities as string[]).includes('CPU');
      assert.deepEqual(hasHost ? recordingProblems(trace) : traceProblems(trace), [], name);
    }
  });
});

describe('the end of a server while it records', { timeout: 120_000 }, () => {
  it('SIGTERM completes the file', async (t) => {
    const directory = await temporaryDirectory(t);
    const server = await RunningServer.start(MODEL);
    const activities = ['CPU', 'MEM'];
    const { profile_id: id } = await ask(server, '/start_profile', { output_dir: directory, activities });
    await load(server, 2, 10);
    assert.equal(await server.stop(), 0);
    const path = join(directory, `${id}-TP-0.trace.json.gz`);
    assert.ok(existsSync(path), 'no trace');
    assert.ok(existsSync(join(directory, `${id}-TP-0-memory.json.gz`)), 'no memory snapshot');
    assert.ok(stepsOf(readTrace(path)).length > 0);
  });

  it('a failing step ends the server; the steps before it are in the file', async (t) => {
    const directory = await temporaryDirectory(t);
    const server = await RunningServer.start(MODEL, { VITRINE_FAIL_STEP: '20' });
    const { profile_id: id } = await ask(server, '/start_profile', { output_dir: directory });
    await server.post('/generate', { text: 'Once', sampling_params: { max_new_tokens: 40, ignore_eos: true } });
    assert.equal(await server.exited, 1);
    const steps = stepsOf(readTrace(join(directory, `${id}-TP-0.trace.json.gz`)));
    assert.ok(steps.length > 0);
  });

  it('a killed rank leaves no file that looks whole', async (t) => {
    const directory = await temporaryDirectory(t);
    const server = await RunningServer.start(MODEL);
    await ask(server, '/start_profile', { output_dir: directory });
    await load(server, 2, 10);
    server.child.kill('SIGKILL');
    await server.exited;
    for (const name of readdirSync(directory).filter((candidate) => candidate.endsWith('.trace.json.gz'))) {
      if (!name.startsWith('.')) assert.ok(stepsOf(readTrace(join(directory, name))).length > 0);
    }
  });
});

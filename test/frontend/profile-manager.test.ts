// Profiles in the front end: ids, order of calls, what is kept, what the log says, several ranks.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { FieldReader } from '#vitrine/frontend/field-reader.js';
import { FrontEndTracer } from '#vitrine/frontend/profiler/front-end-tracer.js';
import { profileEnvironment } from '#vitrine/frontend/profiler/profile-environment.js';
import { ProfileManager } from '#vitrine/frontend/profiler/profile-manager.js';
import { parseProfileRequest } from '#vitrine/frontend/profiler/profile-request.js';
import { SchedulerClient } from '#vitrine/frontend/scheduler-client.js';
import { createLocalChannel } from '#vitrine/messages/local-channel.js';
import { VitrineError } from '#vitrine/util/errors.js';
import type { Log } from '#vitrine/util/log.js';
import type { FakeProfilerOptions } from '../support/fake-profiler.js';
import { FakeScheduler } from '../support/fake-scheduler.js';
import { until } from '../support/http.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const LEVELS: Readonly<Record<number, string>> = { 30: 'info', 40: 'warn', 50: 'error' };

/** A log whose lines are kept: `level message`. */
function keptLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const write = (line: string) => {
    const { level, msg } = JSON.parse(line) as { level: number; msg: string };
    lines.push(`${LEVELS[level]} ${msg}`);
  };
  return { log: pino({ level: 'info' }, { write }), lines };
}

interface Ranks {
  readonly profilers: readonly FakeProfilerOptions[];
  readonly env?: NodeJS.ProcessEnv;
}

async function setUp(t: TestContext, { profilers, env = {} }: Ranks = { profilers: [{}] }) {
  const dir = await temporaryDirectory(t);
  const { log, lines } = keptLog();
  const tracer = new FrontEndTracer({ processName: 'front end', log });
  const ranks = profilers.map((profiler) => {
    const channel = createLocalChannel();
    return {
      scheduler: new FakeScheduler(channel.scheduler, { profiler }),
      client: new SchedulerClient(channel.frontend),
    };
  });
  const environment = profileEnvironment(env, log);
  const manager = new ProfileManager({ schedulers: ranks.map(({ client }) => client), environment, tracer, log });
  const request = (fields: object = {}) =>
    parseProfileRequest(new FieldReader({ output_dir: dir, with_stack: false, ...fields }), environment);
  const start = (fields: object = {}) => manager.start(request(fields));
  const schedulers = ranks.map(({ scheduler }) => scheduler);
  const step = () => {
    for (const scheduler of schedulers) scheduler.step();
  };
  return { dir, log, lines, tracer, manager, start, step, schedulers, scheduler: schedulers[0]! };
}

const coded = (code: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof VitrineError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, words);
  return true;
};

test('the log has SGLang’s lines', async (t) => {
  const { manager, start, step, lines, dir } = await setUp(t);
  const { profileId } = await start();
  step();
  await manager.stop();
  assert.deepEqual(lines, [
    `info Profiling starts. Traces will be saved to: ${dir} (with profile id: ${profileId})`,
    'info Stop profiling...',
    `info Profiling done. Traces are saved to: ${dir}`,
  ]);
});

test('the log tells the merged file, or why there is none', async (t) => {
  const { manager, start, step, lines, dir } = await setUp(t);
  const { profileId } = await start({ merge_profiles: true });
  step();
  const { merge } = await manager.stop();
  const path = join(dir, `merged-${profileId}.trace.json.gz`);
  const { events } = merge!.files[0]!;
  assert.equal(
    lines.at(-1),
    `info Profiling done. Traces are saved to: ${dir} Merged trace: ${path} (Events: ${events}, Files: 1)`,
  );
  const broken = await setUp(t, { profilers: [{ write: (file) => writeFileSync(file, 'no trace') }] });
  await broken.start({ merge_profiles: true });
  broken.step();
  await broken.manager.stop();
  assert.match(
    broken.lines.at(-1)!,
    /^info Profiling done\. Traces are saved to: .* Merge failed: No trace file could be merged/,
  );
});

test('a profile that ends by itself is merged without a further call', async (t) => {
  const { manager, start, step, lines } = await setUp(t);
  await start({ num_steps: 2, merge_profiles: true });
  step();
  step();
  await until(() => lines.some((line) => line.includes('Profiling done')), 'the merge');
  const status = await manager.status();
  assert.deepEqual([status!.state, status!.endedBy, status!.merge!.files.length], ['done', 'num_steps', 1]);
});

test('ids are times, each later than the one before', async (t) => {
  const { manager, start } = await setUp(t);
  const ids: number[] = [];
  for (let i = 0; i < 20; i++) {
    const { profileId } = await start();
    assert.match(profileId, /^\d{10}\.\d{1,7}$/);
    ids.push(Number(profileId));
    await manager.stop();
  }
  assert.ok(ids.every((id, i) => i === 0 || id > ids[i - 1]!));
  assert.ok(Math.abs(ids[0]! - Date.now() / 1000) < 60);
});

test('the last ten that ended can be asked for', async (t) => {
  const { manager, start, step } = await setUp(t);
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) {
    ids.push((await start()).profileId);
    step();
    await manager.stop();
  }
  for (const [i, id] of ids.entries()) {
    const status = await manager.status(id);
    if (i < 2) assert.equal(status, null);
    else assert.deepEqual([status!.profileId, status!.firstStep], [id, i + 1]);
  }
  assert.equal((await manager.status())!.profileId, ids[11]);
});

test('calls run one after the other: a start waits for the stop before it', async (t) => {
  const { manager, start, step, scheduler } = await setUp(t, { profilers: [{ slow: true }] });
  await start();
  step();
  const stopped = manager.stop();
  const started = start();
  const again = manager.stop();
  await until(() => scheduler.profiler.state === 'flushing');
  assert.equal(scheduler.profiler.requests.length, 1);
  scheduler.profiler.complete();
  const first = await stopped;
  const second = await started;
  assert.notEqual(second.profileId, first.profileId);
  await until(() => scheduler.profiler.state === 'flushing');
  scheduler.profiler.complete();
  assert.equal((await again).profileId, second.profileId);
});

test('a stop that comes when the profile has just ended by itself gets that profile', async (t) => {
  const { manager, start, scheduler } = await setUp(t);
  const { profileId } = await start({ num_steps: 1 });
  const stopped = manager.stop(); // the order is on its way when the last step ends
  await new Promise<void>((resolve) => queueMicrotask(resolve));
  scheduler.step();
  const status = await stopped;
  assert.deepEqual([status.profileId, status.state], [profileId, 'done']);
});

test('an engine that dies while it is profiled: the profile has failed, every later call says why', async (t) => {
  const { manager, start, step, scheduler, lines, tracer } = await setUp(t);
  const { profileId } = await start();
  step();
  await until(() => tracer.recording);
  scheduler.vanish();
  await until(() => !tracer.recording);
  const status = await manager.status(profileId);
  assert.deepEqual([status!.state, status!.endedBy, status!.error!.code], ['failed', 'error', 'ENGINE_FAILED']);
  assert.match(lines.at(-1)!, /^error Profiling failed: The scheduler process is gone/);
  await assert.rejects(start(), coded('ENGINE_FAILED', /gone/));
  await assert.rejects(manager.stop(), coded('PROFILE_CONFLICT', /not in progress/));
});

test('several ranks: all are started and stopped, the files of all are told', async (t) => {
  const { manager, start, step, schedulers } = await setUp(t, { profilers: [{}, { slow: true }] });
  const { profileId } = await start({ num_steps: 3 });
  assert.deepEqual(
    schedulers.map(({ profiler }) => profiler.requests.map((order) => order.profileId)),
    [[profileId], [profileId]],
  );
  step();
  step();
  step();
  await until(() => schedulers[1]!.profiler.state === 'flushing');
  assert.equal((await manager.status())!.state, 'flushing'); // one rank is done, the other is not
  const stopped = manager.stop();
  schedulers[1]!.profiler.complete();
  const status = await stopped;
  assert.deepEqual([status.state, status.recordedSteps, status.files.length], ['done', 3, 2]);
});

test('a rank that refuses: the others are stopped, nothing is under way', async (t) => {
  const refuse = () => ({ code: 'TRACE_NOT_WRITTEN', message: 'Read-only.', param: null });
  const { manager, start, schedulers, tracer } = await setUp(t, { profilers: [{}, { refuse }] });
  await assert.rejects(start(), coded('TRACE_NOT_WRITTEN', /Read-only/));
  assert.equal(schedulers[0]!.profiler.state, 'done');
  assert.equal(tracer.recording, false);
  assert.equal(await manager.status(), null);
  await assert.rejects(manager.stop(), coded('PROFILE_CONFLICT', /not in progress/));
});

test('environment booleans are SGLang’s; others are warned of and taken for true', () => {
  for (const value of ['true', '1', 'Yes', 'y']) {
    assert.equal(profileEnvironment({ SGLANG_PROFILE_WITH_STACK: value }, keptLog().log).withStack, true, value);
  }
  for (const value of ['FALSE', '0', 'no', 'n']) {
    assert.equal(profileEnvironment({ SGLANG_PROFILE_RECORD_SHAPES: value }, keptLog().log).recordShapes, false, value);
  }
  const { log, lines } = keptLog();
  assert.equal(profileEnvironment({ SGLANG_PROFILE_WITH_STACK: 'off' }, log).withStack, true);
  assert.match(lines[0]!, /^warn SGLANG_PROFILE_WITH_STACK must be .*"off"/);
  assert.equal(profileEnvironment({}, log).outputDir, '/tmp');
  assert.equal(lines.length, 1);
});

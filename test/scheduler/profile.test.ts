// Profiles of a scheduler on the fake engine: which steps are recorded, when files are complete, and what goes wrong.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { RankProfile } from '#vitrine/messages/profile.js';
import type { NativeAddon } from '#vitrine/native/addon.js';
import { silentLog } from '#vitrine/util/log.js';
import { createFakeAddon } from '../support/fake-engine.js';
import { profileRequest } from '../support/profile-request.js';
import { generateMessage, type HarnessOptions, SchedulerHarness } from '../support/scheduler-harness.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { type CheckedEvent, readTrace, spansOf, traceProblems } from '../support/trace-checker.js';

/** The annotations of steps, in the order of their beginning. */
function stepsOf(path: string): CheckedEvent[] {
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  return spansOf(trace, 'user_annotation').filter((event) => event.name.startsWith('step ('));
}

const numbersOf = (path: string) => stepsOf(path).map((event) => event.args!.step as number);
const modesOf = (path: string) => stepsOf(path).map((event) => event.args!.mode as string);
const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

function harness(options: HarnessOptions = {}): SchedulerHarness {
  return new SchedulerHarness(options);
}

/** A prompt of `length` tokens. */
const prompt = (length: number) => Array.from({ length }, (_, i) => (i * 7) % 50);

describe('exact steps', () => {
  test('num_steps records exactly so many, from the next step on, and the file is there without another request', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 4 }));
    const started = await h.startProfile(profileRequest(directory, { numSteps: 3 }));
    assert.equal(started.state, 'recording');
    assert.equal(started.plannedSteps, 3);
    const before = started.forwardSteps;
    await h.generate(generateMessage(prompt(6), { maxNewTokens: 3 })); // three steps, and no more come
    const done = await h.profileEnd();
    assert.equal(done.state, 'done');
    assert.equal(done.recordedSteps, 3);
    assert.equal(done.endedBy, 'num_steps');
    const [file] = done.files;
    assert.deepEqual(numbersOf(file!.path), range(before + 1, 3));
    assert.deepEqual(modesOf(file!.path), ['extend', 'decode', 'decode']);
    assert.deepEqual([file!.steps, file!.firstStep, file!.lastStep], [3, before + 1, before + 3]);
    assert.equal(file!.path, join(directory, `${done.profileId}-TP-0.trace.json.gz`));
    assert.deepEqual(
      h.profileUpdates.map((update) => update.state),
      ['recording', 'flushing', 'done'],
    );
    await h.close();
  });

  for (const numSteps of [1, 2, 7]) {
    test(`start_step with num_steps ${numSteps}: absolute, inclusive`, async (t) => {
      const directory = await temporaryDirectory(t);
      const h = harness();
      const armed = await h.startProfile(profileRequest(directory, { startStep: 5, numSteps }));
      assert.equal(armed.state, 'armed');
      await h.generate(generateMessage(prompt(5), { maxNewTokens: 20 }));
      const done = await h.profileEnd();
      assert.deepEqual(numbersOf(done.files[0]!.path), range(5, numSteps));
      await h.close();
    });
  }

  test('a start_step that is past means the next step', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 6 }));
    const { state, forwardSteps } = await h.startProfile(profileRequest(directory, { startStep: 2, numSteps: 2 }));
    assert.equal(state, 'recording');
    await h.generate(generateMessage(prompt(6), { maxNewTokens: 6 }));
    const done = await h.profileEnd();
    assert.deepEqual(numbersOf(done.files[0]!.path), range(forwardSteps + 1, 2));
    await h.close();
  });

  test('start_in lets so many steps pass', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 6 }));
    const { state, forwardSteps } = await h.startProfile(profileRequest(directory, { startIn: 4, numSteps: 2 }));
    assert.equal(state, 'armed');
    await h.generate(generateMessage(prompt(6), { maxNewTokens: 10 }));
    const done = await h.profileEnd();
    assert.deepEqual(numbersOf(done.files[0]!.path), range(forwardSteps + 5, 2));
    await h.close();
  });

  test('one profile after another, each with its own steps', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    for (let round = 0; round < 3; round++) {
      const { forwardSteps } = await h.startProfile(profileRequest(directory, { numSteps: 2 }));
      h.profileUpdates.length = 0;
      await h.generate(generateMessage(prompt(5 + round), { maxNewTokens: 5 }));
      const done = await h.profileEnd();
      assert.deepEqual(numbersOf(done.files[0]!.path), range(forwardSteps + 1, 2));
    }
    assert.equal(readdirSync(directory).length, 3);
    await h.close();
  });

  test('without num_steps it lasts until it is stopped', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 8 }));
    const done = await h.stopProfile();
    assert.equal(done.state, 'done');
    assert.equal(done.endedBy, 'stop');
    assert.equal(done.plannedSteps, null);
    // The step that runs ahead of a finished request is a step too.
    assert.equal(done.recordedSteps, done.forwardSteps);
    assert.deepEqual(numbersOf(done.files[0]!.path), range(1, done.forwardSteps));
    await h.close();
  });

  test('stopped while steps are in flight: they are in the trace, none after them', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ engine: { stepMs: () => 2 } });
    await h.startProfile(profileRequest(directory));
    const running = h.generate(generateMessage(prompt(5), { maxNewTokens: 30 }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const done = await h.stopProfile();
    const numbers = numbersOf(done.files[0]!.path);
    assert.deepEqual(numbers, range(1, done.recordedSteps));
    await running;
    await h.close();
  });
});

describe('by stage', () => {
  test('windows are pure and each has its own steps', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ scheduler: { chunkedPrefillSize: 16 } });
    await h.startProfile(profileRequest(directory, { stages: ['EXTEND', 'DECODE'], numSteps: 2 }));
    await h.generate(generateMessage(prompt(64), { maxNewTokens: 6 }));
    const done = await h.profileEnd();
    assert.deepEqual(
      done.files.map((file) => [file.stage, file.steps]),
      [
        ['EXTEND', 2],
        ['DECODE', 2],
      ],
    );
    const [extend, decode] = done.files.map((file) => file.path);
    assert.equal(extend, join(directory, `${done.profileId}-TP-0-EXTEND.trace.json.gz`));
    assert.deepEqual(numbersOf(extend!), [1, 2]);
    assert.deepEqual(modesOf(extend!), ['extend', 'extend']);
    assert.deepEqual(numbersOf(decode!), [5, 6]); // four chunks come before
    assert.deepEqual(modesOf(decode!), ['decode', 'decode']);
    await h.close();
  });

  test('decode steps first, prefill steps in between', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ engine: { stepMs: () => 1 } });
    const first = h.generate(generateMessage(prompt(5), { maxNewTokens: 60 }));
    await new Promise((resolve) => setTimeout(resolve, 10));
    await h.startProfile(profileRequest(directory, { stages: ['EXTEND', 'DECODE'], numSteps: 12 }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const others = range(0, 3).map((i) => h.generate(generateMessage(prompt(20 + i), { maxNewTokens: 20 })));
    await Promise.all([first, ...others]);
    const done = await h.stopProfile();
    const [extend, decode] = done.files;
    assert.deepEqual([...new Set(modesOf(extend!.path))], ['extend']);
    assert.deepEqual([...new Set(modesOf(decode!.path))], ['decode']);
    assert.equal(decode!.steps, 12);
    await h.close();
  });

  test('ended_by tells what cut a window short', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { stages: ['EXTEND', 'DECODE'], numSteps: 3 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 9 }));
    const done = await h.stopProfile();
    assert.deepEqual([done.endedBy, done.recordedSteps, done.plannedSteps], ['stop', 4, 6]);
    await h.close();
  });

  test('a stage that never comes has no file; the other one is written at once', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { stages: ['EXTEND', 'DECODE'], numSteps: 1 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 1 }));
    const path = join(directory, `${h.profileUpdates[0]!.profileId}-TP-0-EXTEND.trace.json.gz`);
    while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(h.profileUpdates.at(-1)!.state, 'recording'); // it still waits for a decode step
    const done = await h.stopProfile();
    assert.deepEqual(
      done.files.map((file) => file.stage),
      ['EXTEND'],
    );
    assert.deepEqual(readdirSync(directory), [`${done.profileId}-TP-0-EXTEND.trace.json.gz`]);
    await h.close();
  });

  test('only the stages asked for', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { stages: ['DECODE'], numSteps: 2 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 9 }));
    const done = await h.profileEnd();
    assert.deepEqual(modesOf(done.files[0]!.path), ['decode', 'decode']);
    assert.equal(done.files.length, 1);
    await h.close();
  });
});

describe('ends and errors', () => {
  test('a second start is refused and does no harm; stopping nothing is refused', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await assert.rejects(h.stopProfile(), { code: 'PROFILE_CONFLICT', message: /not in progress/ });
    const { profileId } = await h.startProfile(profileRequest(directory, { numSteps: 2 }));
    await assert.rejects(h.startProfile(profileRequest(directory)), {
      code: 'PROFILE_CONFLICT',
      message: new RegExp(`already in progress.*${profileId}`),
    });
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
    const done = await h.profileEnd();
    assert.equal(done.recordedSteps, 2);
    await assert.rejects(h.stopProfile(), { code: 'PROFILE_CONFLICT' });
    await h.close();
  });

  test('stopping an armed profile cancels it: no file', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { startStep: 1000, numSteps: 2 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
    const done = await h.stopProfile();
    assert.equal(done.state, 'done');
    assert.deepEqual([done.recordedSteps, done.files.length, done.endedBy], [0, 0, 'stop']);
    assert.deepEqual(readdirSync(directory), []);
    await h.startProfile(profileRequest(directory, { numSteps: 1 })); // the way is free
    await h.stopProfile();
    await h.close();
  });

  test('an unwritable directory is refused at once and serving goes on', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    const blocked = join(directory, 'file');
    writeFileSync(blocked, '');
    await assert.rejects(h.startProfile(profileRequest(join(blocked, 'below'))), { code: 'TRACE_NOT_WRITTEN' });
    const result = await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
    assert.equal(result.tokenIds.length, 5);
    await h.startProfile(profileRequest(directory, { numSteps: 1 }));
    await h.stopProfile();
    await h.close();
  });

  test('max_seconds ends a recording', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ engine: { stepMs: () => 2 } });
    await h.startProfile(profileRequest(directory, { maxSeconds: 0.05 }));
    const running = h.generate(generateMessage(prompt(5), { maxNewTokens: 200 }));
    const done = await h.profileEnd();
    assert.equal(done.endedBy, 'max_seconds');
    assert.ok(done.recordedSteps > 0, 'some steps are recorded');
    await running;
    await h.close();
  });

  test('max_bytes ends a recording', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ engine: { stepMs: () => 1 } });
    await h.startProfile(profileRequest(directory, { maxBytes: 1 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 400 }));
    const done = await h.stopProfile().catch(() => h.profileEnd());
    assert.equal(done.endedBy, 'max_bytes');
    await h.close();
  });

  test('one that is refused while steps run begins once, and who stops it meanwhile is answered', async (t) => {
    const directory = await temporaryDirectory(t);
    let begun = 0;
    let stopped: Promise<unknown> | undefined;
    const addon: NativeAddon = {
      ...createFakeAddon(),
      cudaProfilerStart: () => {
        begun += 1;
        stopped ??= h.stopProfile();
        throw new Error('there is no CUDA');
      },
    };
    const errors: string[] = [];
    const h = harness({
      addon,
      log: Object.assign(Object.create(silentLog), { error: (line: string) => errors.push(line) }),
    });
    const running = h.generate(generateMessage(prompt(5), { maxNewTokens: 3000 }));
    const request = profileRequest(directory, { activities: ['CPU', 'CUDA_PROFILER'] });
    await assert.rejects(h.startProfile(request), { code: 'INVALID_REQUEST', message: /there is no CUDA/ });
    const [stop] = await Promise.allSettled([stopped]);
    assert.ok(stop!.status === 'rejected' || (stop!.value as RankProfile).state === 'failed');
    await running;
    assert.equal(begun, 1);
    assert.deepEqual([errors, h.profileUpdates, readdirSync(directory)], [[], [], []]);
    await h.startProfile(profileRequest(directory, { numSteps: 1 }));
    await h.generate(generateMessage(prompt(6), { maxNewTokens: 2 }));
    assert.equal((await h.profileEnd()).state, 'done');
    await h.close();
  });

  test('CUDA_PROFILER without CUDA is refused with the reason; serving goes on', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await assert.rejects(h.startProfile(profileRequest(directory, { activities: ['CUDA_PROFILER'] })), /no CUDA/);
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
    assert.deepEqual(readdirSync(directory), []);
    await h.close();
  });

  test('GPU alone writes the steps without host spans', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { activities: ['GPU'], numSteps: 2 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
    const done = await h.profileEnd();
    const trace = readTrace(done.files[0]!.path);
    assert.equal(numbersOf(done.files[0]!.path).length, 2);
    assert.deepEqual(spansOf(trace, 'scheduler'), []);
    assert.deepEqual(spansOf(trace, 'cpu_op'), []);
    await h.close();
  });

  test('a shutdown while recording completes the file', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ engine: { stepMs: () => 2 } });
    await h.startProfile(profileRequest(directory));
    const running = h.generate(generateMessage(prompt(5), { maxNewTokens: 200 }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    h.channel.send({ kind: 'shutdown' });
    await running;
    assert.equal(await h.scheduler.closed, 0);
    const [name] = readdirSync(directory);
    assert.ok(stepsOf(join(directory, name!)).length > 0);
  });

  test('an engine that fails while recording leaves a readable file', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness({ engine: { failAtStep: 4 } });
    await h.startProfile(profileRequest(directory));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 50 }));
    assert.equal(await h.scheduler.closed, 1);
    const [name] = readdirSync(directory);
    assert.deepEqual(numbersOf(join(directory, name!)), [1, 2, 3]);
  });

  test('where the directory goes away the profile fails, the scheduler does not, and another one may start', async (t) => {
    const directory = await temporaryDirectory(t);
    const target = join(directory, 'gone');
    const h = harness();
    for (const activities of [['CPU'], ['CPU', 'MEM'], ['MEM']] as const) {
      await h.startProfile(profileRequest(target, { activities }));
      await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
      rmSync(target, { recursive: true });
      writeFileSync(target, '');
      const done = await h.stopProfile();
      assert.equal(done.state, 'failed');
      assert.equal(done.error!.code, 'TRACE_NOT_WRITTEN');
      rmSync(target);
    }
    await h.startProfile(profileRequest(directory, { numSteps: 1 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 5 }));
    await h.stopProfile().catch(() => h.profileEnd());
    await h.close();
  });
});

describe('what a trace holds', () => {
  test('phases, annotations with their arguments, counters, arrows', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { withStack: true }));
    await Promise.all(range(0, 4).map((i) => h.generate(generateMessage(prompt(10 + i), { maxNewTokens: 6 }))));
    const done = await h.stopProfile();
    const trace = readTrace(done.files[0]!.path);
    assert.deepEqual(traceProblems(trace), []);
    const phases = new Set(spansOf(trace, 'scheduler').map((event) => event.name));
    assert.deepEqual([...phases].sort(), [
      'get_next_batch_to_run',
      'process_batch_result',
      'recv_requests',
      'run_batch',
      'send_outputs',
    ]);
    const [step] = stepsOf(done.files[0]!.path);
    assert.equal(step!.args!['batch size'], 4);
    assert.equal(step!.args!.tokens, 10 + 11 + 12 + 13);
    assert.equal(step!.args!['cached tokens'], 0);
    const counters = new Set(trace.traceEvents.filter((event) => event.ph === 'C').map((event) => event.name));
    assert.deepEqual([...counters].sort(), ['kv cache tokens', 'process memory', 'requests']);
    assert.equal(trace.with_stack, 1);
    await h.close();
  });
});

describe('MEM', () => {
  test('writes a snapshot of memory beside the trace, or alone', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    await h.startProfile(profileRequest(directory, { activities: ['CPU', 'MEM'], numSteps: 3 }));
    await h.generate(generateMessage(prompt(40), { maxNewTokens: 3 }));
    const both = await h.profileEnd();
    assert.deepEqual(
      both.files.map(({ kind, steps }) => [kind, steps]),
      [
        ['trace', 3],
        ['memory', 3],
      ],
    );
    const memory = readTrace(both.files[1]!.path);
    const { blocks, totalBlocks, weightBytes } = memory.vitrineMemory as {
      readonly blocks: { readonly free: number; readonly cached: number; readonly held: number };
      readonly totalBlocks: number;
      readonly weightBytes: number;
    };
    assert.equal(both.files[1]!.path, join(directory, `${both.profileId}-TP-0-memory.json.gz`));
    assert.equal(blocks.free + blocks.cached + blocks.held, totalBlocks);
    assert.equal(weightBytes, 1000);
    h.profileUpdates.length = 0;
    await h.startProfile(profileRequest(directory, { activities: ['MEM'], stages: ['EXTEND', 'DECODE'], numSteps: 1 }));
    await h.generate(generateMessage(prompt(30), { maxNewTokens: 3 }));
    const alone = await h.profileEnd();
    assert.deepEqual(
      alone.files.map(({ kind, stage }) => [kind, stage]),
      [
        ['memory', 'EXTEND'],
        ['memory', 'DECODE'],
      ],
    );
    await h.close();
  });

  test('an unwritable directory is refused at once', async (t) => {
    const directory = await temporaryDirectory(t);
    const h = harness();
    const blocked = join(directory, 'file');
    writeFileSync(blocked, '');
    const request = profileRequest(join(blocked, 'below'), { activities: ['MEM'] });
    await assert.rejects(h.startProfile(request), { code: 'TRACE_NOT_WRITTEN' });
    await h.close();
  });
});

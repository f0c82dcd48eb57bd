// Profiles on a GPU that tells of its work late: it ends up in the file of its step, named and joined by arrows; and a GPU
// that cannot be recorded.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { summariseTrace } from '#vitrine/trace/summary/trace-summary.js';
import { VitrineError } from '#vitrine/util/errors.js';
import type { FakeEngineOptions } from '../support/fake-engine.js';
import { profileRequest } from '../support/profile-request.js';
import { generateMessage, SchedulerHarness } from '../support/scheduler-harness.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf, traceProblems } from '../support/trace-checker.js';

const NSYS = 'another profiler is attached';

function harness(gpu: FakeEngineOptions['gpu'] = {}): SchedulerHarness {
  return new SchedulerHarness({ engine: { gpu }, scheduler: { device: 'cuda' } });
}

const prompt = (length: number) => Array.from({ length }, (_, i) => (i * 7) % 50);

describe('the GPU in a profile', () => {
  before(() => {
    process.env.VITRINE_CUDA_LIBRARY = '/the/fake/needs/none.so';
  });

  test('the work of every step is in the file, on the tracks of the GPU, with what it belongs to', async (t) => {
    const h = harness();
    await h.startProfile(profileRequest(await temporaryDirectory(t), { numSteps: 8 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 12 }));
    const done = await h.profileEnd();
    assert.deepEqual([done.state, done.warnings], ['done', []]);
    const trace = readTrace(done.files[0]!.path);
    assert.deepEqual(traceProblems(trace), []);
    const kernels = spansOf(trace, 'kernel');
    assert.deepEqual(
      kernels.map(({ pid, tid, args }) => [pid, tid, args!.correlation]),
      Array.from({ length: 8 }, (_, i) => [1, 7, i + 1]),
    );
    const { correlation: _, ...args } = kernels[0]!.args!;
    assert.deepEqual(args, {
      ...{ layer: 2, device: 1, context: 1, stream: 7, 'registers per thread': 32, 'shared memory': 0 },
      ...{ 'blocks per SM': 2, 'warps per SM': 6, grid: [8, 1, 1], block: [96, 1, 1] },
      ...{ op: 'mlp', module: 'model.layers.2.mlp', 'GB/s': 1500.25, 'TFLOP/s': 3.5 },
    });
    const named = (name: string, pid: number) =>
      trace.traceEvents.find((event) => event.name === name && event.pid === pid)!.args;
    assert.deepEqual(named('process_name', 1), { name: 'GPU 1' });
    assert.deepEqual(named('process_sort_index', 1), { sort_index: 5_000_001 });
    assert.deepEqual(named('thread_name', 1), { name: 'stream 7' });
    const calls = spansOf(trace, 'cuda_runtime');
    assert.equal(calls.length, 8);
    assert(calls.every(({ pid, name }) => pid === process.pid && name === 'cudaLaunchKernel'));
    assert.equal(trace.traceEvents.filter(({ ph, cat }) => ph === 's' && cat === 'ac2g').length, 8);
    assert.equal(spansOf(trace, 'cpu_op').length, 8);
    await h.close();
  });

  test('by stage each file has the work of its own steps, though it comes after others have begun', async (t) => {
    const h = harness();
    const directory = await temporaryDirectory(t);
    await h.startProfile(profileRequest(directory, { numSteps: 2, stages: ['EXTEND', 'DECODE'] }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 6 }));
    await h.generate(generateMessage(prompt(9), { maxNewTokens: 6 }));
    const done = await h.profileEnd();
    for (const { path } of done.files) {
      const trace = readTrace(path);
      assert.deepEqual(traceProblems(trace), []);
      const steps = spansOf(trace, 'user_annotation').map(({ args }) => args!.step);
      assert.deepEqual(
        spansOf(trace, 'kernel').map(({ args }) => args!.correlation),
        steps.filter((step) => step !== undefined),
        path,
      );
    }
    assert.equal(done.files.length, 2);
    await h.close();
  });

  test('the GPU alone: its work and the calls, under the annotations of the steps', async (t) => {
    const h = harness();
    await h.startProfile(profileRequest(await temporaryDirectory(t), { activities: ['GPU'] }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 4 }));
    const done = await h.stopProfile();
    const trace = readTrace(done.files[0]!.path);
    assert.deepEqual(traceProblems(trace), []);
    assert.equal(spansOf(trace, 'kernel').length, done.recordedSteps);
    assert.equal(spansOf(trace, 'user_annotation').length, done.recordedSteps);
    assert.deepEqual([...spansOf(trace, 'cpu_op'), ...spansOf(trace, 'scheduler')], []);
    await h.close();
  });

  test('without the activity nothing of the GPU is recorded, and one profile follows another', async (t) => {
    const h = harness();
    for (const activities of [['CPU'], ['CPU', 'GPU'], ['CPU']] as const) {
      await h.startProfile(profileRequest(await temporaryDirectory(t), { activities, numSteps: 2 }));
      await h.generate(generateMessage(prompt(5), { maxNewTokens: 4 }));
      const { files } = await h.profileEnd();
      h.profileUpdates.length = 0;
      const expected = activities.length === 2 ? 2 : 0;
      assert.equal(spansOf(readTrace(files[0]!.path), 'kernel').length, expected, activities.join());
    }
    await h.close();
  });

  test('one that cannot be recorded is a warning of the status and the file; asked for alone it is refused', async (t) => {
    const h = harness({ problem: NSYS });
    const directory = await temporaryDirectory(t);
    const warning = `The GPU's work is not recorded: ${NSYS}.`;
    await assert.rejects(
      h.startProfile(profileRequest(directory, { activities: ['GPU'] })),
      (error) => error instanceof VitrineError && error.code === 'INVALID_REQUEST' && error.message === warning,
    );
    assert.deepEqual(readdirSync(directory), []);
    const started = await h.startProfile(profileRequest(directory, { numSteps: 2 }));
    assert.deepEqual(started.warnings, [warning]);
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 4 }));
    const { state, warnings, files } = await h.profileEnd();
    assert.deepEqual([state, warnings], ['done', [warning]]);
    const trace = readTrace(files[0]!.path);
    assert.deepEqual(trace.vitrine!.warnings, [warning]);
    assert.equal(spansOf(trace, 'cpu_op').length, 2);
    assert.deepEqual((await summariseTrace(files[0]!.path, 5)).warnings, [warning]);
    await h.close();
  });

  test('one that fails step after step is one warning, and the profile has the rest', async (t) => {
    const h = harness({ failure: 'out of buffers' });
    await h.startProfile(profileRequest(await temporaryDirectory(t), { numSteps: 3 }));
    await h.generate(generateMessage(prompt(5), { maxNewTokens: 6 }));
    const { state, warnings, files } = await h.profileEnd();
    assert.deepEqual([state, warnings], ['done', ['Work of the GPU is missing: out of buffers.']]);
    const trace = readTrace(files[0]!.path);
    assert.equal(spansOf(trace, 'cpu_op').length, 3);
    assert.deepEqual(trace.vitrine!.warnings, warnings, 'the file says so too');
    await h.close();
  });
});

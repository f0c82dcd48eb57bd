// The trace file of forward steps: what the engine recorded, under one annotation a step.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GREEDY, NO_BIAS } from '#vitrine/engine/forward-batch.js';
import type { ForwardMode } from '#vitrine/engine/forward-batch-layout.js';
import { ModelRunner } from '#vitrine/engine/model-runner.js';
import { StepTrace } from '#vitrine/engine/profiler/step-trace.js';
import { SpanRecorder } from '#vitrine/trace/record/span-recorder.js';
import { silentLog } from '#vitrine/util/log.js';
import { createFakeAddon } from '../support/fake-engine.js';
import { fakePreparedModel } from '../support/fake-prepared-model.js';
import { schedulerOptions } from '../support/scheduler-options.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { type CheckedEvent, readTrace, spansOf, traceProblems } from '../support/trace-checker.js';
import { writerOptions } from '../support/trace-files.js';

const engineProcess = { pid: process.pid, name: 'rank 0', sortIndex: 0 };

function createRunner(): ModelRunner {
  const model = fakePreparedModel(256);
  return ModelRunner.create({ addon: createFakeAddon(), model, options: schedulerOptions(), log: silentLog });
}

const step = (stepId: number, mode: ForwardMode, profile: boolean) => ({
  ...{ stepId, mode, profile, blockSize: 16 },
  requests: [
    {
      ...{
        slot: 0,
        tokenIds: [5, 6],
        firstPosition: 0,
        blocks: [3],
        flags: 1,
        sample: true,
        scored: [],
        scoredFrom: 0,
      },
      ...{ sampling: GREEDY, bias: NO_BIAS, history: [] },
    },
  ],
});

/** Microseconds at this distance from the base are good to a nanosecond or two. */
const ROUNDING = 0.003;
const inside = (outer: CheckedEvent, inner: CheckedEvent) =>
  inner.tid === outer.tid && inner.ts > outer.ts && inner.ts + inner.dur! <= outer.ts + outer.dur! + ROUNDING;

test('every step has its annotation, and its records lie inside', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const runner = createRunner();
  t.after(() => runner.close());
  const trace = await StepTrace.open({
    ...writerOptions(path),
    process: engineProcess,
    tables: runner.spanTables(),
  });
  const modes = ['extend', 'decode', 'mixed'] as const;
  // More steps than annotations are kept back.
  for (let i = 0; i < 70; i++) {
    const mode = modes[i % 3]!;
    const output = await runner.forward(step(11 + i, mode, true));
    trace.addStep({ stepId: 11 + i, mode, batchSize: 1, tokens: 2, cachedTokens: 3, waiting: 4, flowIds: [], output });
  }
  const info = await trace.finish();
  assert.equal(info.droppedRecords, 0);
  const file = readTrace(path);
  assert.deepEqual(traceProblems(file), []);
  const annotations = spansOf(file, 'user_annotation');
  const ops = spansOf(file, 'cpu_op');
  assert.equal(ops.length, 70);
  assert.deepEqual(
    annotations.map((event) => event.name),
    Array.from({ length: 70 }, (_, i) => `step (${modes[i % 3]})`),
  );
  assert.deepEqual(annotations[1]!.args, {
    'External id': 12,
    step: 12,
    mode: 'decode',
    'batch size': 1,
    tokens: 2,
    'cached tokens': 3,
    'waiting requests': 4,
  });
  for (const [i, annotation] of annotations.entries()) assert.ok(inside(annotation, ops[i]!), `step ${11 + i}`);
});

test('other producers add to the same file', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const runner = createRunner();
  t.after(() => runner.close());
  const trace = await StepTrace.open({ ...writerOptions(path), process: engineProcess, tables: runner.spanTables() });
  const recorder = new SpanRecorder({ capacity: 10, thread: { tid: 5, name: 'scheduler', sortIndex: 1 } });
  recorder.start();
  recorder.end(recorder.begin('scheduler', recorder.name('schedule')));
  assert.equal(trace.addSpans(trace.addSource(engineProcess), recorder.drain()!), true);
  await trace.finish();
  const file = readTrace(path);
  assert.deepEqual(traceProblems(file), []);
  assert.deepEqual(
    spansOf(file, 'scheduler').map((event) => event.name),
    ['schedule'],
  );
});

test('discard() leaves no file', async (t) => {
  const directory = await temporaryDirectory(t);
  const runner = createRunner();
  t.after(() => runner.close());
  const trace = await StepTrace.open({
    ...writerOptions(join(directory, 'a.trace.json.gz')),
    process: engineProcess,
    tables: runner.spanTables(),
  });
  const output = await runner.forward(step(1, 'extend', true));
  trace.addStep({
    stepId: 1,
    mode: 'extend',
    batchSize: 1,
    tokens: 2,
    cachedTokens: 0,
    waiting: 0,
    flowIds: [],
    output,
  });
  await trace.discard();
  assert.deepEqual(readdirSync(directory), []);
});

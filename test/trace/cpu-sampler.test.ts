import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeCpuProfile, type V8Profile } from '#vitrine/trace/record/cpu-profile.js';
import { CpuSampler } from '#vitrine/trace/record/cpu-sampler.js';
import { TraceDocument } from '#vitrine/trace/write/trace-document.js';
import { TraceWriter } from '#vitrine/trace/write/trace-writer.js';
import { rawChunk } from '../support/span-chunks.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { type CheckedEvent, readTrace, spansOf, traceProblems } from '../support/trace-checker.js';
import { writerOptions } from '../support/trace-files.js';

const frame = (id: number, functionName: string, url = '', children: number[] = []) => ({
  id,
  callFrame: { functionName, url, lineNumber: 10 * id - 1, columnNumber: 2 },
  children,
});

const NODES = [
  frame(1, '(root)', '', [2, 3, 4, 7]),
  frame(2, '(program)'),
  frame(3, '(idle)'),
  frame(4, 'outer', 'file:///src/a "b".js', [5]),
  frame(5, 'inner', 'file:///src/c.js', [6]),
  frame(6, '', ''),
  frame(7, '(garbage collector)'),
];

function encode(samples: number[], timeDeltas: number[], endTime = 1000): CheckedEvent[] {
  const events: CheckedEvent[] = [];
  const profile: V8Profile = { nodes: NODES, startTime: 100, endTime, samples, timeDeltas };
  encodeCpuProfile({ profile, clockOffsetNs: 0 }, 1, 2, 0, (text) => events.push(JSON.parse(text)));
  return events;
}

const shape = (events: readonly CheckedEvent[]) =>
  events.toSorted((a, b) => a.ts - b.ts).map((e) => `${e.name} ${e.ts}+${e.dur}`);

test('runs of samples become nested events', () => {
  const events = encode([3, 4, 6, 6, 5, 2, 4], [0, 10, 10, 10, 10, 10, 10], 200);
  assert.deepEqual(shape(events), [
    'a "b".js(40): outer 110+40',
    'c.js(50): inner 120+30',
    '(anonymous) 120.001+19.999',
    'a "b".js(40): outer 160+40',
  ]);
  const outer = events.find((e) => e.ts === 110);
  assert.deepEqual(outer?.args, { url: 'file:///src/a "b".js', line: 40, column: 3 });
  assert.ok(events.every((e) => e.cat === 'python_function' && e.ph === 'X'));
});

test('the collector interrupts a stack that goes on after it', () => {
  assert.deepEqual(shape(encode([5, 7, 7, 5], [0, 10, 10, 10], 140)), [
    'a "b".js(40): outer 100+40',
    'c.js(50): inner 100.001+39.999',
    '(garbage collector) 110+20',
  ]);
});

test('late samples, deltas of zero and unknown nodes never break the nesting', () => {
  const samples = [6, 4, 6, 7, 99, 6, 5, 6];
  const events = encode(samples, [0, 0, 0, -50, 0, 0, 0, 0], 100);
  const trace = { schemaVersion: 1, baseTimeNanoseconds: 0, deviceProperties: [], traceEvents: events } as never;
  assert.deepEqual(
    traceProblems(trace).filter((problem) => !problem.includes('has no name')),
    [],
  );
});

test('a busy process: a hundred thousand samples under one frame are handed out as they end', () => {
  const depth = 30;
  const nodes = [frame(1, '(root)', '', [2])];
  // One frame around everything, under it two deep stacks that take turns.
  nodes.push(frame(2, 'main', 'file:///m.js', [3, 3 + depth]));
  for (let i = 0; i < 2 * depth; i++) {
    const isLast = i % depth === depth - 1;
    nodes.push(frame(3 + i, `f"${i}`, 'file:///f.js', isLast ? [] : [4 + i]));
  }
  const samples = Array.from({ length: 100_000 }, (_, i) => (i % 2 === 0 ? 2 + depth : 2 + 2 * depth));
  const profile = { nodes, startTime: 0, endTime: 1e8, samples, timeDeltas: samples.map(() => 1000) };
  let events = 0;
  let bytes = 0;
  global.gc?.();
  const before = process.memoryUsage().heapUsed;
  let most = 0;
  encodeCpuProfile({ profile, clockOffsetNs: 0 }, 1, 2, 0, (text) => {
    events++;
    bytes += text.length;
    if (events % 100_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
  });
  assert.equal(events, samples.length * depth + 1);
  // Held until the frame around them ends, the texts alone would take this much.
  assert.ok(bytes > 300e6 && most < 150e6, `${most} bytes more on the heap for ${bytes} bytes of text`);
});

test('frames beyond the size of the file are left out and counted', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const document = new TraceDocument(writerOptions(path, { maxFileBytes: 100_000 }));
  const samples = Array.from({ length: 100_000 }, (_, i) => (i % 2 === 0 ? 4 : 5));
  const profile = {
    nodes: NODES,
    startTime: 0,
    endTime: 1e6,
    samples,
    timeDeltas: samples.map((_, i) => 1 + (i % 17)),
  };
  document.addCpuProfile(1, { tid: 2, name: 'stacks', sortIndex: 0 }, { profile, clockOffsetNs: 0 });
  const { droppedRecords, fileBytes } = document.finish();
  const trace = readTrace(path);
  const frames = spansOf(trace, 'python_function').length;
  assert.ok(frames > 0 && droppedRecords > 0 && fileBytes < 400_000, `${frames} frames, ${fileBytes} bytes`);
  assert.equal(frames + droppedRecords, 50_000 + 1, 'one outer frame, an inner one every second sample');
  assert.deepEqual(trace.vitrine?.dropped, { max_bytes: droppedRecords });
});

function spin(milliseconds: number): number {
  const end = performance.now() + milliseconds;
  let sum = 0;
  while (performance.now() < end) sum += Math.sqrt(sum + 1);
  return sum;
}

test('sampled stacks name the function that ran, on CLOCK_MONOTONIC', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const sampler = new CpuSampler();
  const before = process.hrtime.bigint();
  sampler.start(500);
  assert.throws(() => sampler.start(), { code: 'INVALID_REQUEST' });
  spin(100);
  const profile = sampler.stop();
  const after = process.hrtime.bigint();
  assert.throws(() => sampler.stop(), { code: 'INVALID_REQUEST' });
  assert.equal(profile.clockOffsetNs, 0, 'V8 samples on CLOCK_MONOTONIC');
  const options = writerOptions(path);
  const writer = await TraceWriter.open(options);
  const source = writer.addSource({ pid: 5, name: 'p', sortIndex: 0 });
  writer.write(
    source,
    rawChunk({
      records: [{ begin: before, end: after }],
      names: ['all'],
      threads: [{ tid: 1, name: 't', sortIndex: 0 }],
    }),
  );
  writer.writeCpuProfile(5, { tid: 6, name: 'JavaScript stacks', sortIndex: 1 }, profile);
  await writer.finish();
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  const frames = spansOf(trace, 'python_function');
  const spinning = frames.filter((e) => e.name.startsWith('cpu-sampler.test.ts(') && e.name.endsWith(': spin'));
  assert.ok(spinning.length > 0, frames.map((e) => e.name).join('\n'));
  assert.match(String(spinning[0]?.args?.url), /cpu-sampler\.test\.ts$/);
  const [all] = spansOf(trace, 'cpu_op');
  for (const e of frames) {
    assert.ok(
      e.ts >= all!.ts - 2 && e.ts + e.dur! <= all!.ts + all!.dur! + 2,
      `${e.name} lies outside of the recording`,
    );
  }
});

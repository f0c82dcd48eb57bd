// Arrows whose producers do not know who sees them first and last: points of several processes, hostile counts.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { SpanRecorder } from '#vitrine/trace/record/span-recorder.js';
import { FlowPoints } from '#vitrine/trace/write/flow-points.js';
import { TraceDocument } from '#vitrine/trace/write/trace-document.js';
import { TraceWriter } from '#vitrine/trace/write/trace-writer.js';
import { RandomChoices } from '../support/random-choices.js';
import { type RawRecord, rawChunk } from '../support/span-chunks.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { type CheckedTrace, readTrace, traceProblems } from '../support/trace-checker.js';
import { writerOptions } from '../support/trace-files.js';

const rank = { pid: 10, name: 'rank 0', sortIndex: 10 };
const frontEnd = { pid: 9, name: 'front end', sortIndex: 9 };
const main = (tid: number) => ({ tid, name: 'main', sortIndex: 0 });

const arrows = (trace: CheckedTrace) => trace.traceEvents.filter((e) => 'stf'.includes(e.ph));
const arrow = (trace: CheckedTrace, id: number | string) => arrows(trace).filter((e) => e.id === id);

/** A point inside a span of its own. */
const point = (id: bigint, at: bigint, changes: RawRecord = {}): RawRecord[] => [
  { kind: 'flowPoint', category: 'request', name: 1, id, begin: at, ...changes },
  { category: 'scheduler', name: 0, begin: at, end: at + 1n },
];

test('points of two processes become one arrow, in the order of time whoever came first', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path));
  const recorders = [9, 10].map((tid) => new SpanRecorder({ capacity: 100, thread: main(tid) }));
  const [front, engine] = recorders as [SpanRecorder, SpanRecorder];
  const engineSource = writer.addSource(rank);
  const frontSource = writer.addSource(frontEnd);
  for (const recorder of recorders) recorder.start();
  const visit = (recorder: SpanRecorder, ids: readonly number[]) => {
    const mark = recorder.begin('scheduler', recorder.name('work'));
    for (const id of ids) recorder.flowPoint('request', recorder.name('request'), id);
    recorder.end(mark);
  };
  visit(front, [1]);
  visit(front, [2]);
  visit(engine, [2, 1]);
  visit(engine, [1, 3]);
  visit(front, [2]);
  visit(front, [1]);
  // The rank's chunk arrives first, the front end's last, though its points lie around.
  for (const [source, recorder] of [[engineSource, engine] as const, [frontSource, front] as const]) {
    assert.equal(writer.write(source, recorder.drain()!), true);
  }
  await writer.finish();
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  const shape = (id: number) => arrow(trace, id).map((e) => [e.ph, e.pid, e.tid, e.cat, e.name, e.bp]);
  assert.deepEqual(shape(1), [
    ['s', 9, 9, 'request', 'request', undefined],
    ['t', 10, 10, 'request', 'request', undefined],
    ['t', 10, 10, 'request', 'request', undefined],
    ['f', 9, 9, 'request', 'request', 'e'],
  ]);
  assert.deepEqual(
    shape(2).map(([ph, pid]) => [ph, pid]),
    [
      ['s', 9],
      ['t', 10],
      ['f', 9],
    ],
  );
  assert.deepEqual(shape(3), [], 'one point is no arrow');
});

test('category, name and id tell arrows apart; ids are exact up to 64 bits; equal times keep their order', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const document = new TraceDocument(writerOptions(path));
  const source = document.addSource(rank, { names: ['work', 'request', 'other "name"'], threads: [main(1), main(2)] });
  const ids = [0n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 64n - 1n];
  document.addChunk(
    source,
    rawChunk({
      records: [
        ...ids.flatMap((id, i) => [...point(id, BigInt(100 * i + 50)), ...point(id, BigInt(100 * i + 10))]),
        // The same id, of another name and of another category.
        ...point(0n, 1000n, { name: 2 }),
        ...point(0n, 1100n, { category: 'ac2g' }),
        { category: 'scheduler', name: 0, thread: 1, begin: 2000n, end: 2010n },
        ...point(5n, 2005n, { thread: 1, name: 2 }),
        ...point(5n, 2005n, { name: 2 }).slice(0, 1),
      ],
    }),
  );
  document.finish();
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.equal(arrows(trace).length, 2 * (ids.length + 1), 'nothing of a single point');
  for (const id of ids) {
    const [start, end] = arrow(trace, Number(id));
    assert.ok(start!.ph === 's' && end!.ph === 'f' && end!.ts - start!.ts > 0.039, String(id));
  }
  assert.deepEqual(
    arrow(trace, 5).map((e) => [e.ph, e.tid, e.name]),
    [
      ['s', 2, 'other "name"'],
      ['f', 1, 'other "name"'],
    ],
  );
});

test('too many points are dropped and counted, and what remains is whole arrows', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const document = new TraceDocument(writerOptions(path, { maxFlowPoints: 5 }));
  const source = document.addSource(rank, { names: ['work', 'request'], threads: [main(1)] });
  const records = Array.from({ length: 12 }, (_, i) => point(BigInt(i % 3), BigInt(10 * i + 1))).flat();
  document.addChunk(source, rawChunk({ records }));
  assert.equal(document.finish().droppedRecords, 7);
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.deepEqual(trace.vitrine?.dropped, { flow_points: 7 });
  assert.deepEqual(
    arrows(trace).map((e) => [e.id, e.ph]),
    [
      [0, 's'],
      [0, 'f'],
      [1, 's'],
      [1, 'f'],
    ],
  );
});

test('a full file takes whole arrows or none', () => {
  const points = new FlowPoints();
  const kind = points.kind('"request"', '"r"');
  const track = points.track(1, 1);
  for (let i = 0; i < 30; i++) points.add(kind, track, i % 10, 0, i);
  const events: { id: number; ph: string }[] = [];
  const leftOut = points.emit(
    (text) => events.push(JSON.parse(text)),
    () => events.length >= 10,
  );
  assert.equal(leftOut, 18);
  assert.deepEqual(
    events.map(({ id, ph }) => `${id}${ph}`),
    ['0s', '0t', '0f', '1s', '1t', '1f', '2s', '2t', '2f', '3s', '3t', '3f'],
  );
});

test('arrows of many requests, whatever the order of their points', () => {
  const choices = new RandomChoices(7);
  const next = (below: number) => choices.integer(0, below - 1);
  const points = new FlowPoints();
  const kinds = ['"a"', '"b"'].map((name) => points.kind('"request"', name));
  const tracks = [points.track(1, 1), points.track(2, 1)];
  const expected = new Map<string, number[]>();
  for (let i = 0; i < 50_000; i++) {
    const [kind, id, high] = [next(2), next(3000), next(2)];
    const ns = next(1_000_000_000) - 1000;
    points.add(kinds[kind]!, tracks[next(2)]!, id, high, ns);
    const key = `${'ab'[kind]} ${high * 2 ** 32 + id}`;
    expected.set(key, [...(expected.get(key) ?? []), Math.max(ns, 0)]);
  }
  const found = new Map<string, { ph: string; ts: number }[]>();
  points.emit(
    (text) => {
      const { name, id, ph, ts } = JSON.parse(text);
      const key = `${name} ${id}`;
      found.set(key, [...(found.get(key) ?? []), { ph, ts }]);
    },
    () => false,
  );
  for (const [key, times] of expected) {
    const events = found.get(key) ?? [];
    const sorted = times.length > 1 ? times.toSorted((a, b) => a - b) : [];
    assert.deepEqual(
      events.map(({ ts }) => Math.round(ts * 1000)),
      sorted,
    );
    assert.equal(events.map(({ ph }) => ph).join(''), sorted.length > 0 ? `s${'t'.repeat(sorted.length - 2)}f` : '');
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_HEADER_BYTES, RECORD_BYTES } from '#vitrine/trace/record/span-layout.js';
import { SpanRecorder } from '#vitrine/trace/record/span-recorder.js';
import { SpanClock } from '#vitrine/trace/trace-clock.js';
import { EventList } from '#vitrine/trace/write/event-list.js';
import { FlowPoints } from '#vitrine/trace/write/flow-points.js';
import { SpanEncoder } from '#vitrine/trace/write/span-encoder.js';
import { TextBuffer } from '#vitrine/trace/write/text-buffer.js';

const thread = { tid: 7, name: 'main', sortIndex: 1 };
const encoderOptions = {
  process: { pid: 42, name: 'test', sortIndex: 0 },
  monotonicToWallNs: 0n,
  baseNs: 0n,
  recordShapes: true,
  flowPoints: new FlowPoints(),
  tables: { names: [], threads: [] },
};

/** A clock that ticks as told. */
class StepClock {
  baseNs = 5_000_000n;
  time = 0;
  step = 10;
  now() {
    this.time += this.step;
    return this.time;
  }
}

interface Decoded {
  readonly ph: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly id?: number;
  readonly cat: string;
  readonly args?: Record<string, unknown>;
}

function drainAll(
  recorder: SpanRecorder,
  encoder = new SpanEncoder(encoderOptions),
): { events: Decoded[]; dropped: number } {
  const pieces: Buffer[] = [];
  const text = new TextBuffer(4096, (bytes) => pieces.push(Buffer.from(bytes)));
  const list = new EventList(text);
  let dropped = 0;
  for (let chunk = recorder.drain(); chunk; chunk = recorder.drain()) dropped += encoder.encode(chunk, list);
  text.flush();
  return { events: JSON.parse(`[${Buffer.concat(pieces)}]`), dropped };
}

function create(capacity = 16) {
  const clock = new StepClock();
  const recorder = new SpanRecorder({ capacity, thread, clock });
  return { clock, recorder };
}

test('spans carry category, name, layer, id, arguments and times to the nanosecond', () => {
  const { recorder } = create();
  const step = recorder.name('step');
  recorder.start();
  const mark = recorder.begin('userAnnotation', step, 3);
  recorder.args(mark, 'step', 4_000_000_000, 1, 8, 8, -1, 2);
  recorder.identify(mark, 2 ** 40 + 5);
  recorder.end(mark);
  const { events } = drainAll(recorder);
  assert.deepEqual(events, [
    {
      ph: 'X',
      cat: 'user_annotation',
      name: 'step',
      pid: 42,
      tid: 7,
      ts: 5000.01,
      dur: 0.01,
      args: {
        'External id': 2 ** 40 + 5,
        layer: 3,
        step: 4_000_000_000,
        mode: 'decode',
        'batch size': 8,
        tokens: 8,
        'cached tokens': -1,
        'waiting requests': 2,
      },
    },
  ]);
});

test('every argument type survives: shapes, 64-bit integers, floats, names', () => {
  const { recorder } = create();
  recorder.start();
  const gemm = recorder.begin('cpuOp', recorder.name('gemm'));
  recorder.args(gemm, 'gemm', 8, 288, 768, 288, 2 ** 52 + 1, recorder.name('layers.0.mlp'));
  recorder.end(gemm);
  recorder.counter(recorder.name('kv'), 'cacheUse', 0.1, 1e300, Number.NaN);
  recorder.async('request', recorder.name('r'), 1, 5, 9, 'request', recorder.name('id "1"'), 10, 0, 3);
  const { events } = drainAll(recorder);
  assert.deepEqual(events[0]?.args, {
    bytes: 2 ** 52 + 1,
    module: 'layers.0.mlp',
    'Input Dims': [
      [8, 288],
      [768, 288],
    ],
  });
  assert.deepEqual(events[1]?.args, { 'used tokens': 0.1, 'cached tokens': 1e300, 'free tokens': 'NaN' });
  assert.deepEqual(events[2]?.args, { request: 'id "1"', 'prompt tokens': 10, 'cached tokens': 0, 'new tokens': 3 });
  assert.equal(events[3]?.ph, 'e');
});

test('begins strictly increase even on a clock that stands still, and children stay inside', () => {
  const { recorder, clock } = create();
  clock.step = 0;
  recorder.start();
  const outer = recorder.begin('scheduler', 1);
  const inner = recorder.begin('scheduler', 1);
  recorder.end(inner);
  recorder.end(outer);
  const chunk = recorder.drain();
  assert.ok(chunk);
  const view = new DataView(chunk.records.buffer, CHUNK_HEADER_BYTES);
  const times = [0, 1].map((i) => [8, 16].map((at) => Number(view.getBigInt64(i * RECORD_BYTES + at, true))));
  const [child, parent] = times as [[number, number], [number, number]];
  assert.ok(child[0] > parent[0]);
  assert.ok(child[1] <= parent[1]);
});

test('points of arrows lie inside the span around them, also on a clock that stands still', () => {
  const { recorder, clock } = create();
  clock.step = 0;
  recorder.start();
  const outer = recorder.begin('scheduler', 1);
  const inner = recorder.begin('scheduler', 1);
  recorder.flowPoint('request', 1, 7);
  recorder.end(inner);
  recorder.end(outer);
  const view = new DataView(recorder.drain()!.records.buffer, CHUNK_HEADER_BYTES);
  const [point, begin, end] = [8, RECORD_BYTES + 8, RECORD_BYTES + 16].map((at) => view.getBigInt64(at, true));
  assert.ok(begin! <= point! && point! <= end!, `${point} is not between ${begin} and ${end}`);
});

test('end() closes spans that an exception left open', () => {
  const { recorder } = create();
  recorder.start();
  const outer = recorder.begin('scheduler', recorder.name('outer'));
  recorder.begin('scheduler', recorder.name('left open'));
  recorder.end(outer);
  const next = recorder.begin('scheduler', recorder.name('next'));
  assert.equal(next, outer);
  recorder.end(next);
  assert.deepEqual(
    drainAll(recorder).events.map((e) => e.name),
    ['left open', 'outer', 'next'],
  );
});

test('spans open across start() leave nothing, spans open across stop() end there', () => {
  const { recorder } = create();
  const before = recorder.begin('scheduler', recorder.name('before'));
  recorder.start();
  const inside = recorder.begin('scheduler', recorder.name('inside'));
  recorder.stop();
  recorder.start();
  recorder.end(inside);
  recorder.end(before);
  assert.deepEqual(drainAll(recorder).events, [], 'start() begins with an empty ring');
  const open = recorder.begin('scheduler', recorder.name('open'));
  recorder.stop();
  recorder.end(open);
  recorder.instant('scheduler', 1);
  assert.deepEqual(
    drainAll(recorder).events.map((e) => e.name),
    ['open'],
  );
});

test('a full ring drops and counts, the ring wraps, and what remains is in order', () => {
  const { recorder } = create(4);
  recorder.start();
  const names = Array.from({ length: 9 }, (_, i) => recorder.name(`s${i}`));
  const record = (i: number) => recorder.end(recorder.begin('cpuOp', names[i]!));
  const encoder = new SpanEncoder(encoderOptions);
  for (let i = 0; i < 3; i++) record(i);
  assert.deepEqual(
    drainAll(recorder, encoder).events.map((e) => e.name),
    ['s0', 's1', 's2'],
  );
  for (let i = 3; i < 9; i++) record(i);
  assert.equal(recorder.pending, 4);
  assert.equal(recorder.dropped, 2);
  const { events, dropped } = drainAll(recorder, encoder);
  assert.deepEqual(
    events.map((e) => e.name),
    ['s3', 's4', 's5', 's6'],
  );
  assert.equal(dropped, 2);
  assert.equal(recorder.drain(), undefined);
});

test('deeper nesting than the recorder keeps is dropped, counted and leaves the rest in balance', () => {
  const { recorder } = create(256);
  recorder.start();
  const marks = Array.from({ length: 80 }, () => recorder.begin('cpuOp', 1));
  for (const mark of marks.reverse()) recorder.end(mark);
  const { events, dropped } = drainAll(recorder);
  assert.equal(events.length, 64);
  assert.equal(dropped, 16);
  assert.equal(recorder.begin('cpuOp', 1), 0);
});

test('flows bind inside the open span; arrows keep their identity', () => {
  const { recorder } = create();
  recorder.start();
  const mark = recorder.begin('scheduler', 1);
  recorder.flow('start', 'request', recorder.name('request'), 77);
  recorder.flow('end', 'request', recorder.name('request'), 77);
  recorder.end(mark);
  const { events } = drainAll(recorder);
  assert.deepEqual(
    events.map((e) => [e.ph, e.id]),
    [
      ['s', 77],
      ['f', 77],
      ['X', undefined],
    ],
  );
  assert.ok(events[0]!.ts >= events[2]!.ts && events[1]!.ts <= events[2]!.ts + events[2]!.dur);
});

test('hostile names are cut, and endless names end in one', () => {
  const { recorder } = create();
  recorder.start();
  const long = recorder.name('x'.repeat(100_000));
  recorder.end(recorder.begin('cpuOp', long));
  assert.equal(drainAll(recorder).events[0]?.name.length, 1024);
  const ids = new Set(Array.from({ length: 70_000 }, (_, i) => recorder.name(`request ${i}`)));
  assert.ok(ids.size <= 65_536);
  assert.equal(recorder.name('one more'), 0);
});

test('the span clock is CLOCK_MONOTONIC', () => {
  const clock = new SpanClock();
  for (let i = 0; i < 100; i++) {
    const before = process.hrtime.bigint();
    const now = clock.baseNs + BigInt(clock.now());
    const after = process.hrtime.bigint();
    assert.ok(now >= before - 10_000n && now <= after + 10_000n, `${now} is not between ${before} and ${after}`);
  }
});

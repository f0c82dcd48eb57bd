import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mergeTraces } from '#vitrine/trace/merge/trace-merger.js';
import { formatDuration, renderTraceSummary } from '#vitrine/trace/summary/summary-report.js';
import { summariseTrace } from '#vitrine/trace/summary/trace-summary.js';
import { TraceDocument } from '#vitrine/trace/write/trace-document.js';
import { rawChunk } from '../support/span-chunks.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, traceProblems } from '../support/trace-checker.js';
import { writerOptions, writeTraceFile } from '../support/trace-files.js';

const KINETO = fileURLToPath(new URL('../fixtures/traces/kineto.json', import.meta.url));

interface Span {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly tid?: number;
  readonly pid?: number;
  readonly args?: object;
}
const span = (e: Span) => ({ ph: 'X', pid: 1, tid: 1, ...e });
const step = (n: number, ts: number, dur: number, mode: string) =>
  span({ cat: 'user_annotation', name: 'step', ts, dur, args: { step: n, mode } });

/** Four steps of 100 and 200 µs with known gaps, layers and causes; children come before their parents. */
const OURS = {
  schemaVersion: 1,
  baseTimeNanoseconds: 1767189312000000000,
  deviceProperties: [],
  traceEvents: [
    span({
      cat: 'cpu_op',
      name: 'qkv_proj',
      ts: 1010,
      dur: 30,
      args: {
        layer: 0,
        'Input Dims': [
          [4, 8],
          [8, 8],
        ],
      },
    }),
    span({ cat: 'cpu_op', name: 'attention', ts: 1040, dur: 45, args: { layer: 0 } }),
    span({ cat: 'cpu_op', name: 'layers.0', ts: 1005, dur: 80 }),
    step(1, 1000, 200, 'extend'),
    span({
      cat: 'cpu_op',
      name: 'qkv_proj',
      ts: 1310,
      dur: 10,
      args: {
        layer: 0,
        'Input Dims': [
          [1, 8],
          [8, 8],
        ],
      },
    }),
    span({ cat: 'cpu_op', name: 'layers.0', ts: 1305, dur: 20 }),
    span({
      cat: 'cpu_op',
      name: 'qkv_proj',
      ts: 1330,
      dur: 50,
      args: {
        layer: 1,
        'Input Dims': [
          [1, 8],
          [8, 8],
        ],
      },
    }),
    step(2, 1300, 100, 'decode'),
    step(3, 1400, 100, 'decode'),
    step(4, 2000, 100, 'decode'),
    // Worker thread: busy in the same layer, must not count for the layer again.
    span({ cat: 'cpu_op', name: 'gemm part', ts: 1010, dur: 30, tid: 2, args: { layer: 0 } }),
    // Gap 1200-1300: scheduler 60 of it (both spans are one), tokenizer 10 of the rest.
    span({ cat: 'scheduler', name: 'get_next_batch', ts: 1210, dur: 60, tid: 3 }),
    span({ cat: 'scheduler', name: 'lookup', ts: 1220, dur: 10, tid: 3 }),
    span({ cat: 'tokenizer', name: 'encode', ts: 1260, dur: 20, tid: 4 }),
    // Gap 1500-2000: http 100, a request until 1700, then nothing to do.
    span({ cat: 'http', name: 'POST /generate', ts: 1550, dur: 100, tid: 5 }),
    { ph: 'b', cat: 'request', name: 'r', id: 1, pid: 1, tid: 5, ts: 900 },
    { ph: 'e', cat: 'request', name: 'r', id: 1, pid: 1, tid: 5, ts: 1700 },
    span({ cat: 'python_function', name: 'a.js(1): f', ts: 1000, dur: 1000, tid: 6 }),
    { ph: 's', cat: 'ac2g', name: 'ac2g', id: 1, pid: 1, tid: 1, ts: 1005 },
    { ph: 'f', bp: 'e', cat: 'ac2g', name: 'ac2g', id: 1, pid: 1, tid: 1, ts: 1006 },
    { ph: 'M', name: 'process_name', pid: 1, tid: 0, ts: 0, args: { name: 'rank 0' } },
  ],
  vitrine: { profileId: '1.5', ranks: { tp: 0 }, droppedRecords: 0 },
};

test('steps, gaps and their causes', async (t) => {
  const path = writeTraceFile(await temporaryDirectory(t), 'a.trace.json.gz', OURS);
  const { steps, gaps, ...summary } = await summariseTrace(path, 10);
  assert.deepEqual(
    steps.map((s) => [s.mode, s.count, s.totalUs, s.minUs, s.p50Us, s.p90Us, s.maxUs]),
    [
      ['all', 4, 500, 100, 100, 170, 200],
      ['decode', 3, 300, 100, 100, 100, 100],
      ['extend', 1, 200, 200, 200, 200, 200],
    ],
  );
  assert.deepEqual([gaps?.count, gaps?.totalUs, gaps?.maxUs, gaps?.share], [2, 600, 500, 600 / 1100]);
  assert.deepEqual(Object.fromEntries(gaps!.causes.map(({ cause, us }) => [cause, us])), {
    scheduler: 60,
    tokenizer: 10,
    http: 100,
    'requests waiting': 30 + 100,
    'nothing to do': 300,
  });
  assert.deepEqual(summary.warnings, []);
  assert.deepEqual(summary.processes, [{ name: 'rank 0', pid: '1', threads: 6 }]);
  assert.equal(summary.origin, '[TP00]');
});

test('gaps with work waiting, by batch size: not those in which no request was alive for a while', async (t) => {
  const sized = (n: number, ts: number, dur: number, size: number) =>
    span({ cat: 'user_annotation', name: 'step', ts, dur, args: { step: n, mode: 'decode', 'batch size': size } });
  const request = (id: number, begin: number, end: number) => [
    { ph: 'b', cat: 'request', name: 'r', id, pid: 1, tid: 5, ts: begin },
    { ph: 'e', cat: 'request', name: 'r', id, pid: 1, tid: 5, ts: end },
  ];
  const traceEvents = [
    sized(1, 1000, 100, 1),
    sized(2, 1110, 90, 1), // 10 after the step before
    sized(3, 1200, 100, 1), // at once
    sized(4, 1330, 70, 64), // 30: one request goes, another is there already
    sized(5, 1900, 100, 64), // nobody was there from 1600 to 1700
    sized(6, 2050, 50, 64), // 50
    sized(7, 2150, 50, 200), // 50
    ...request(1, 900, 1310),
    ...request(2, 1250, 1600),
    ...request(3, 1700, 2300),
  ];
  const path = writeTraceFile(await temporaryDirectory(t), 'a.trace.json.gz', { ...OURS, traceEvents });
  const summary = await summariseTrace(path, 10);
  assert.deepEqual(summary.waitingGaps, [
    { fromBatch: 1, toBatch: 1, count: 2, totalUs: 10, p50Us: 5, p99Us: 9.9, maxUs: 10 },
    { fromBatch: 33, toBatch: 128, count: 2, totalUs: 80, p50Us: 40, p99Us: 49.8, maxUs: 50 },
    { fromBatch: 129, toBatch: null, count: 1, totalUs: 50, p50Us: 50, p99Us: 50, maxUs: 50 },
  ]);
  const text = renderTraceSummary(summary);
  assert.match(
    text,
    /Between steps with work waiting\n {2}batch size {2,}gaps .*\n {2}1 {2,}2 .*\n {2}33 to 128 {2,}2 .*\n {2}129 or more {2,}1 /,
  );
});

test('self times, shapes, categories and layers add up', async (t) => {
  const path = writeTraceFile(await temporaryDirectory(t), 'a.trace.json.gz', OURS);
  const summary = await summariseTrace(path, 2);
  assert.deepEqual(summary.ops, [
    {
      name: 'qkv_proj',
      category: 'cpu_op',
      calls: 3,
      selfUs: 90,
      totalUs: 90,
      share: 90 / 180,
      shapes: [
        { shape: '[[1,8],[8,8]]', calls: 2, selfUs: 60, totalUs: 60 },
        { shape: '[[4,8],[8,8]]', calls: 1, selfUs: 30, totalUs: 30 },
      ],
    },
    { name: 'attention', category: 'cpu_op', calls: 1, selfUs: 45, totalUs: 45, share: 45 / 180, shapes: [] },
  ]);
  assert.deepEqual(summary.otherOps, { count: 2, selfUs: 45 });
  assert.deepEqual(
    summary.layers.map((l) => [l.layer, l.calls, l.totalUs, l.meanUs, l.topOp, l.topOpUs]),
    [
      [0, 2, 100, 50, 'attention', 45],
      [1, 1, 50, 50, 'qkv_proj', 50],
    ],
  );
  const byCategory = new Map(summary.categories.map((c) => [c.category, c]));
  assert.equal(byCategory.get('cpu_op')?.selfUs, 180);
  assert.equal(byCategory.get('user_annotation')?.selfUs, 500 - 150);
  assert.equal(byCategory.get('scheduler')?.selfUs, 60);
  assert.equal(byCategory.get('python_function')?.share, null, 'samples are not time of their own');
  const shares = summary.categories.reduce((sum, c) => sum + (c.share ?? 0), 0);
  assert.ok(Math.abs(shares - 1) < 1e-9);
});

test('a Kineto trace: steps by name, kernels, ops of the same times as their frames', async () => {
  const summary = await summariseTrace(KINETO, 10);
  assert.equal(summary.steps[0]?.count, 2);
  assert.deepEqual(summary.gaps?.causes, [{ cause: 'not in the trace', us: 50, share: 1 }]);
  const mm = summary.ops.find((op) => op.name === 'aten::mm');
  assert.deepEqual([mm?.calls, mm?.selfUs, mm?.totalUs, mm?.shapes.length], [2, 74.875, 80, 2]);
  assert.ok(summary.ops.some((op) => op.category === 'kernel' && op.name.includes('"x"')));
  assert.equal(summary.origin, '[Rank00]');
  assert.ok(!summary.processes.some(({ pid }) => pid === 'Spans'));
});

/** A recording by the product's own writer: two steps, two workers, scheduler phases, a front end, one request's arrow. */
function record(path: string): void {
  const document = new TraceDocument(writerOptions(path));
  const us = (n: number) => BigInt(n) * 1000n;
  const at = (begin: number, end: number) => ({ begin: us(begin), end: us(end) });
  const rank = { pid: 20, name: 'rank 0', labels: 'CPU', sortIndex: 20 };
  const engineThread = { tid: 22, name: 'engine', sortIndex: 1 };
  const native = document.addSource(rank, {
    names: ['layers.0', 'gemm', 'gemm (part)'],
    threads: [engineThread, { tid: 23, name: 'worker 0', sortIndex: 2 }, { tid: 24, name: 'worker 1', sortIndex: 3 }],
  });
  const scheduler = document.addSource(rank, {
    names: ['get_next_batch_to_run', 'process_batch_result', 'step', 'request', 'KV cache'],
    threads: [{ tid: 21, name: 'scheduler', sortIndex: 0 }, engineThread],
  });
  const frontEnd = document.addSource(
    { pid: 10, name: 'front end', sortIndex: 10 },
    { names: ['POST /generate', 'tokenize', 'request'], threads: [{ tid: 10, name: 'main', sortIndex: 0 }] },
  );
  const arrow = (name: number, time: number, thread = 0) => {
    return { kind: 'flowPoint', category: 'request', name, thread, begin: us(time), id: 5n } as const;
  };
  const layer = { layer: 0, schema: 'gemm', words: [4, 8, 16, 8, 999, 0] } as const;
  for (const [step, begin] of [1000, 2000].entries()) {
    const mode = step === 0 ? 0 : 1;
    document.addChunk(
      native,
      rawChunk({
        records: [
          { name: 1, ...at(begin + 10, begin + 80), ...layer },
          { name: 0, ...at(begin + 1, begin + 100), layer: 0 },
          { name: 2, thread: 1, ...at(begin + 12, begin + 78), layer: 0 },
          { name: 2, thread: 2, ...at(begin + 13, begin + 79), layer: 0 },
        ],
      }),
    );
    document.addChunk(
      scheduler,
      rawChunk({
        records: [
          { category: 'scheduler', name: 0, ...at(begin - 100, begin - 60) },
          { category: 'scheduler', name: 1, ...at(begin + 105, begin + 125) },
          arrow(3, begin + 50, 1),
          {
            ...at(begin, begin + 100),
            category: 'userAnnotation',
            name: 2,
            thread: 1,
            schema: 'step',
            words: [step + 1, mode, 1, 4, 0, 0],
          },
          { kind: 'counter', category: 'memory', name: 4, begin: us(begin), schema: 'value', words: [0, 0] },
        ],
      }),
    );
  }
  document.addChunk(
    frontEnd,
    rawChunk({
      records: [
        arrow(2, 812),
        { category: 'tokenizer', name: 1, ...at(810, 830) },
        { category: 'http', name: 0, ...at(800, 840) },
        // The last byte leaves between the steps; after it nobody waits for anything.
        arrow(2, 1410),
        { category: 'http', name: 0, ...at(1400, 1420) },
      ],
    }),
  );
  document.finish();
}

test('a recording of our own: processes, workers, phases and an arrow that says how long a request was alive', async (t) => {
  const path = join(await temporaryDirectory(t), '1.5-TP-0.trace.json.gz');
  record(path);
  assert.deepEqual(traceProblems(readTrace(path)), []);
  const summary = await summariseTrace(path, 10);
  assert.deepEqual(summary.warnings, []);
  assert.deepEqual(
    summary.processes.map(({ name, threads }) => [name, threads]),
    [
      ['rank 0', 4],
      ['front end', 1],
    ],
  );
  assert.deepEqual(
    summary.steps.map(({ mode, count, totalUs }) => [mode, count, totalUs]),
    [
      ['all', 2, 200],
      ['decode', 1, 100],
      ['extend', 1, 100],
    ],
  );
  // From 1100 to 2000: the scheduler 20 + 40, http 20, the request waits until its last point at 2050.
  assert.deepEqual(Object.fromEntries(summary.gaps!.causes.map(({ cause, us }) => [cause, us])), {
    scheduler: 60,
    http: 20,
    'requests waiting': 820,
  });
  const self = Object.fromEntries(summary.categories.map(({ category, selfUs }) => [category, selfUs]));
  // The http span without the tokenizer's inside, steps without their ops, ops of each thread once.
  assert.deepEqual(self, {
    cpu_op: 2 * (99 + 66 + 66),
    scheduler: 120,
    http: 20 + 20,
    tokenizer: 20,
    user_annotation: 2,
  });
  const shares = summary.categories.reduce((sum, { share }) => sum + (share ?? 0), 0);
  assert.ok(Math.abs(shares - 1) < 1e-9);
  assert.deepEqual(
    summary.layers.map(({ layer, calls, totalUs, topOp }) => [layer, calls, totalUs, topOp]),
    [[0, 2, 198, 'gemm']],
  );
  assert.deepEqual(summary.ops.find(({ name }) => name === 'gemm')?.shapes, [
    { shape: '[[4,8],[16,8]]', calls: 2, selfUs: 140, totalUs: 140 },
  ]);
});

test('the JSON has the same keys whatever the trace holds', async (t) => {
  const directory = await temporaryDirectory(t);
  const empty = writeTraceFile(directory, 'empty.json', { traceEvents: [] });
  const full = join(directory, '1.5-TP-0.trace.json.gz');
  record(full);
  const keys = [
    'version',
    'file',
    'origin',
    'profileId',
    'stage',
    'events',
    'spans',
    'durationUs',
    'processes',
    'categories',
    'ops',
    'otherOps',
    'layers',
    'steps',
    'gaps',
    'waitingGaps',
    'gpu',
    'droppedRecords',
    'dropped',
    'warnings',
  ];
  for (const path of [empty, full, KINETO]) {
    const summary = JSON.parse(JSON.stringify(await summariseTrace(path, 5)));
    assert.deepEqual(Object.keys(summary), keys, path);
    assert.equal(summary.version, 1);
    for (const [part, partKeys] of [
      [summary.processes, 'name pid threads'],
      [summary.categories, 'category spans selfUs share'],
      [summary.ops, 'name category calls selfUs totalUs share shapes'],
      [summary.layers, 'layer calls totalUs meanUs share topOp topOpUs'],
      [summary.steps, 'mode count totalUs meanUs minUs p50Us p90Us p99Us maxUs'],
      [summary.gaps === null ? [] : [summary.gaps], 'count totalUs share p50Us p99Us maxUs causes'],
      [summary.waitingGaps, 'fromBatch toBatch count totalUs p50Us p99Us maxUs'],
      [summary.gpu === null ? [] : [summary.gpu], 'busyUs share stepGaps modules otherModules'],
    ]) {
      for (const row of part) assert.equal(Object.keys(row).join(' '), partKeys);
    }
  }
});

/** A step on the host and the work that it queued: the call within the step, the work after it. */
function stepWithWork(
  number: number,
  ts: number,
  work: readonly (readonly [module: string, ts: number, dur: number])[],
) {
  return [
    step(number, ts, 10, 'decode'),
    span({ cat: 'cuda_runtime', name: 'cudaGraphLaunch', ts: ts + 1, dur: 5, args: { correlation: number } }),
    ...work.map(([module, begin, dur]) =>
      span({
        ...{ cat: 'kernel', name: 'gemm_kernel<64>', pid: 0, tid: 7, ts: begin, dur },
        args: { correlation: number, layer: 1, op: 'x', module, 'GB/s': dur * 100, 'TFLOP/s': 2.5 },
      }),
    ),
  ];
}

test('the GPU: time and rates by module over layers, idle time between the work of steps', async (t) => {
  const directory = await temporaryDirectory(t);
  const traceEvents = [
    // The second step is queued while the work of the first still runs.
    ...stepWithWork(1, 1000, [
      ['model.layers.0.mlp', 1020, 10],
      ['model.layers.1.mlp', 1040, 30],
    ]),
    ...stepWithWork(2, 1015, [['model.norm', 1100, 20]]),
    ...stepWithWork(3, 1200, [['model.norm', 1205, 20]]),
    span({ cat: 'gpu_memcpy', name: 'Memcpy DtoH', pid: 0, tid: 7, ts: 1225, dur: 5, args: { correlation: 3 } }),
  ];
  const path = writeTraceFile(directory, 'gpu.json', { ...OURS, traceEvents });
  const { gpu, layers } = await summariseTrace(path, 2);
  assert.equal(gpu!.busyUs, 85);
  assert.equal(gpu!.share, 85 / 210);
  assert.deepEqual(gpu!.stepGaps, { count: 2, totalUs: 115, p50Us: 57.5, p99Us: 84.45, maxUs: 85 });
  assert.deepEqual(gpu!.modules, [
    {
      ...{ module: 'model.layers.*.mlp', calls: 2, totalUs: 40, share: 40 / 85 },
      ...{ gigabytesPerSecond: (10 * 1000 + 30 * 3000) / 40, teraflopsPerSecond: 2.5 },
      kernels: [{ name: 'gemm_kernel<64>', calls: 2, totalUs: 40 }],
    },
    {
      ...{ module: 'model.norm', calls: 2, totalUs: 40, share: 40 / 85 },
      ...{ gigabytesPerSecond: 2000, teraflopsPerSecond: 2.5 },
      kernels: [{ name: 'gemm_kernel<64>', calls: 2, totalUs: 40 }],
    },
  ]);
  assert.deepEqual(gpu!.otherModules, { count: 1, totalUs: 5 });
  assert.deepEqual(
    layers.map(({ layer, totalUs }) => [layer, totalUs]),
    [[1, 80]],
  );
  const report = renderTraceSummary(await summariseTrace(path, 2));
  assert.match(report, /^ {2}idle between steps: 2 gaps, 115 us; p50 57\.5 us, p99 84\.5 us, max 85\.0 us$/m);
  assert.match(report, /^ {2}model\.layers\.\*\.mlp +40\.0 us +47\.1% +2 +2500 +2\.5$/m);
  assert.match(report, /^ {6}gemm_kernel<64>: 2 calls, 40\.0 us$/m);
});

test('spans within spans, a hundred thousand deep', async (t) => {
  const depth = 100_000;
  const events = Array.from({ length: depth }, (_, i) =>
    span({ cat: 'cpu_op', name: i % 2 === 0 ? 'a' : 'b', ts: i, dur: 2 * (depth - i) }),
  );
  const path = writeTraceFile(await temporaryDirectory(t), 'deep.json', { traceEvents: events });
  const { categories, ops, warnings } = await summariseTrace(path, 5);
  assert.equal(categories[0]?.selfUs, 2 * depth);
  assert.deepEqual(
    ops.map(({ totalUs }) => totalUs).sort((a, b) => a - b),
    [2 * depth - 2, 2 * depth],
  );
  assert.deepEqual(warnings, []);
});

test('a merged trace is summarised over its ranks', async (t) => {
  const directory = await temporaryDirectory(t);
  const inputs = [0, 1].map((tp) =>
    writeTraceFile(directory, `1.5-TP-${tp}.trace.json.gz`, {
      ...OURS,
      vitrine: { ...OURS.vitrine, ranks: { tp }, droppedRecords: 3 },
    }),
  );
  const [merged] = await mergeTraces({ inputs });
  const summary = await summariseTrace(merged!.output, 5);
  assert.equal(summary.origin, 'merged from 2 files');
  assert.equal(summary.steps[0]?.count, 8);
  assert.equal(summary.gaps?.totalUs, 1200);
  assert.deepEqual([summary.layers[0]?.calls, summary.layers[0]?.totalUs], [4, 200]);
  assert.equal(summary.droppedRecords, 6);
});

test('what is wrong with a trace is said', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = writeTraceFile(directory, 'bad.json', {
    traceEvents: [
      span({ cat: 'c', name: 'a', ts: 0, dur: 10 }),
      span({ cat: 'c', name: 'b', ts: 5, dur: 10 }),
      span({ cat: 'c', name: 'negative', ts: 5, dur: -1 }),
      { ph: 'X', cat: 'c', name: 'no times', pid: 1, tid: 1 },
      { ph: 'B', cat: 'c', name: 'x', pid: 1, tid: 1, ts: 1 },
      { ph: 's', cat: 'f', name: 'f', id: 1, pid: 1, tid: 1, ts: 1 },
      { ph: 'f', cat: 'f', name: 'f', id: 2, pid: 1, tid: 1, ts: 1 },
      { ph: 'f', cat: 'f', name: 'f', id: 3, pid: 1, tid: 1, ts: 1 },
    ],
    vitrine: { droppedRecords: 9, dropped: { buffer: 9 } },
  });
  const summary = await summariseTrace(path, 5);
  assert.deepEqual(summary.warnings, [
    '9 records were dropped while recording: times and counts are too low',
    '1 spans have a negative duration and are left out',
    '1 spans have no readable ts or dur and are left out',
    '1 begin and end events (ph B and E) are left out: only complete ones (ph X) are counted',
    '1 spans end after the span around them: their thread is not nested',
    '1 flows start and never end',
    '2 flows end without a start',
  ]);
  assert.equal(summary.categories[0]?.selfUs, 10, 'no time counts twice');
  assert.match(renderTraceSummary(summary), /dropped by: buffer 9/);
  const cut = writeTraceFile(directory, 'cut.json', '{"traceEvents":[');
  await assert.rejects(summariseTrace(cut, 5), { code: 'TRACE_INVALID', message: /cut off after 0 events/ });
  await assert.rejects(summariseTrace(join(directory, 'none'), 5), {
    code: 'TRACE_INVALID',
    message: /does not exist/,
  });
});

test('the report fits 100 columns and lets no control character through, whatever the names', async (t) => {
  const directory = await temporaryDirectory(t);
  const hostile = `void very_long_${'x'.repeat(300)}\u001b[31m\n\u202e<end>`;
  const path = writeTraceFile(directory, `${'long'.repeat(40)}.json`, {
    ...OURS,
    traceEvents: [
      ...OURS.traceEvents,
      span({
        cat: hostile,
        name: hostile,
        ts: 5000,
        dur: 123456789,
        args: { layer: 30000, 'Input Dims': [Array(200).fill(4096)] },
      }),
      span({ cat: 'user_annotation', name: 'step', ts: 5000, dur: 1, tid: 9, args: { step: 5, mode: hostile } }),
      { ph: 'M', name: 'process_name', pid: 1, tid: 0, ts: 0, args: { name: hostile } },
    ],
    vitrine: { profileId: hostile, droppedRecords: 1, dropped: { [hostile]: 1 } },
  });
  const text = renderTraceSummary(await summariseTrace(path, 10));
  const lines = text.split('\n');
  for (const line of lines) assert.ok([...line].length <= 100, `${[...line].length} columns: ${line}`);
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
  assert.match(text, /Top ops by self time/);
});

test('golden report', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = writeTraceFile(directory, 'a.trace.json.gz', OURS);
  const lines = renderTraceSummary(await summariseTrace(path, 2))
    .split('\n')
    .slice(1);
  assert.deepEqual(lines, [
    '[TP00], profile 1.5',
    '1.10 ms recorded, 21 events, 16 spans',
    '  1 rank 0, 6 threads',
    '',
    'Steps',
    '  mode    steps   total    mean     min     p50     p90     p99     max',
    '  all         4  500 us  125 us  100 us  100 us  170 us  197 us  200 us',
    '  decode      3  300 us  100 us  100 us  100 us  100 us  100 us  100 us',
    '  extend      1  200 us  200 us  200 us  200 us  200 us  200 us  200 us',
    '',
    'Between steps',
    '  2 gaps, 600 us, 54.5% of the time from first to last step;',
    '  p50 300 us, p99 496 us, max 500 us',
    '  cause                time  share',
    '  nothing to do      300 us  50.0%',
    '  requests waiting   130 us  21.7%',
    '  http               100 us  16.7%',
    '  scheduler         60.0 us  10.0%',
    '  tokenizer         10.0 us   1.7%',
    '',
    'Time by category',
    '  category         spans  self time  share',
    '  python_function      1    1.00 ms      -',
    '  user_annotation      4     350 us  49.3%',
    '  cpu_op               7     180 us  25.4%',
    '  http                 1     100 us  14.1%',
    '  scheduler            2    60.0 us   8.5%',
    '  tokenizer            1    20.0 us   2.8%',
    '',
    'Top ops by self time',
    '  op            self  share  calls    total  category',
    '  qkv_proj   90.0 us  50.0%      3  90.0 us  cpu_op',
    '      [[1,8],[8,8]]: 2 calls, 60.0 us, 1 other shape',
    '  attention  45.0 us  25.0%      1  45.0 us  cpu_op',
    '  … 2 more ops, 45.0 us',
    '',
    'Layers',
    '  layer  calls    total     mean  share  most of it',
    '  0          2   100 us  50.0 us  66.7%  attention 45.0 us',
    '  1          1  50.0 us  50.0 us  33.3%  qkv_proj 50.0 us',
    '',
  ]);
});

test('durations have three digits and a unit', () => {
  const shown = [0, 0.0004, 0.001, 0.999, 1, 1.2345, 9.995, 12.345, 99.95, 123.4, 999.9, 1000, 1.5e6, 3.6e9].map(
    formatDuration,
  );
  assert.deepEqual(shown, [
    '0 ns',
    '0 ns',
    '1 ns',
    '999 ns',
    '1.00 us',
    '1.23 us',
    '10.0 us',
    '12.3 us',
    '100 us',
    '123 us',
    '1000 us',
    '1.00 ms',
    '1.50 s',
    '3600 s',
  ]);
});

import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { SpanRecorder } from '#vitrine/trace/record/span-recorder.js';
import { engineTables } from '#vitrine/trace/record/span-source.js';
import { notWritten } from '#vitrine/trace/write/gzip-file.js';
import { rankMetadata } from '#vitrine/trace/write/rank-metadata.js';
import { TraceDocument } from '#vitrine/trace/write/trace-document.js';
import { TraceWriter } from '#vitrine/trace/write/trace-writer.js';
import { TraceWriterThreads } from '#vitrine/trace/write/trace-writer-threads.js';
import { rawChunk } from '../support/span-chunks.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf, traceProblems } from '../support/trace-checker.js';
import { writerOptions } from '../support/trace-files.js';

const thread = { tid: 11, name: 'main', sortIndex: 0 };
const testProcess = { pid: 10, name: 'rank 0', labels: 'CPU', sortIndex: 10 };

const HOSTILE = [
  'quote " backslash \\ slash /',
  'control \u0000\u0001\u001f\u007f\n\r\t\b\f',
  'lone high \ud800 end',
  'lone low \udfff end',
  'pair \u{1f600} and \u2028\u2029',
  '</script><!--',
  '{"ph":"X"},',
  '',
  '\ufeffbom',
  '__proto__',
];

test('a trace of the recorder is whole, in the dialect, and exact', async (t) => {
  const path = join(await temporaryDirectory(t), 'new', 'directory', 'a.trace.json.gz');
  const recorder = new SpanRecorder({ capacity: 100, thread });
  const writer = await TraceWriter.open(writerOptions(path));
  const source = writer.addSource(testProcess);
  recorder.start();
  for (let step = 0; step < 10; step++) {
    const mark = recorder.begin('userAnnotation', recorder.name('step'));
    recorder.args(mark, 'step', step, 1, 4, 4, 0, 0);
    recorder.flow('start', 'request', recorder.name('request'), step);
    const op = recorder.begin('cpuOp', recorder.name('gemm'), 0);
    recorder.args(op, 'gemm', 4, 8, 16, 8, 1000, recorder.name('mlp'));
    recorder.end(op);
    recorder.flow('end', 'request', recorder.name('request'), step);
    recorder.end(mark);
    recorder.counter(recorder.name('KV cache'), 'cacheUse', step, 0, 10);
    const chunk = recorder.drain();
    if (chunk) assert.equal(writer.write(source, chunk), true);
  }
  assert.equal(existsSync(path), false, 'no file before it is whole');
  const info = await writer.finish();
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.equal(info.events, trace.traceEvents.length);
  assert.equal(info.fileBytes, readFileSync(path).length);
  assert.equal(info.textBytes, gunzipSync(readFileSync(path)).length);
  assert.deepEqual(readdirSync(join(path, '..')), ['a.trace.json.gz'], 'no temporary file is left');
  assert.equal(spansOf(trace, 'user_annotation').length, 10);
  assert.deepEqual(spansOf(trace, 'cpu_op')[0]?.args, {
    layer: 0,
    bytes: 1000,
    module: 'mlp',
    'Input Dims': [
      [4, 8],
      [16, 8],
    ],
  });
  assert.equal(trace.schemaVersion, 1);
  assert.equal(trace.displayTimeUnit, 'ms');
  assert.equal(trace.baseTimeNanoseconds % 7_889_238_000_000_000, 0);
  assert.equal(trace.with_stack, 0);
  assert.deepEqual(trace.distributedInfo, { backend: 'shm', rank: 0, world_size: 1 });
  assert.equal(trace.vitrine?.droppedRecords, 0);
  for (const name of ['Iteration Start: Vitrine Profiler', 'Record Window End']) {
    assert.equal(trace.traceEvents.filter((e) => e.ph === 'i' && e.name === name).length, 1, name);
  }
});

test('the head and the metadata events are those of Kineto', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const devices = [{ kind: 'cpu', name: 'CPU "x"', threads: 8, totalBytes: 2 ** 40 }] as const;
  const described = rankMetadata({
    devices,
    rank: 1,
    worldSize: 2,
    backend: 'shm',
    withStack: true,
    recordShapes: false,
  });
  const document = new TraceDocument(writerOptions(path, described));
  const source = document.addSource(testProcess, { names: ['a'], threads: [thread] });
  document.addChunk(source, rawChunk({ records: [{ begin: 1n, end: 2n, schema: 'gemm', words: [1, 2, 3, 4] }] }));
  document.finish();
  const trace = readTrace(path);
  const { traceEvents, vitrine, baseTimeNanoseconds, ...head } = trace;
  assert.deepEqual(head, {
    schemaVersion: 1,
    deviceProperties: [{ id: 0, kind: 'cpu', name: 'CPU "x"', totalGlobalMem: 2 ** 40, threads: 8 }],
    distributedInfo: { backend: 'shm', rank: 1, world_size: 2 },
    with_stack: 1,
    record_shapes: 0,
    displayTimeUnit: 'ms',
    traceName: path,
  });
  assert.deepEqual(
    traceEvents.filter((e) => e.ph === 'M').map((e) => [e.name, e.pid, e.tid, e.args]),
    [
      ['process_name', 10, 0, { name: 'rank 0' }],
      ['process_labels', 10, 0, { labels: 'CPU' }],
      ['process_sort_index', 10, 0, { sort_index: 10 }],
      ['thread_name', 10, 11, { name: 'main' }],
      ['thread_sort_index', 10, 11, { sort_index: 0 }],
      ['process_sort_index', 'Spans', 0, { sort_index: 0x2000_0000 }],
    ],
  );
  assert.deepEqual(spansOf(trace, 'cpu_op')[0]?.args, { bytes: 0, module: 'a' }, 'no shapes');
});

test('whatever names contain, the JSON is valid and says them', async (t) => {
  const path = join(await temporaryDirectory(t), 'hostile.trace.json.gz');
  const document = new TraceDocument(writerOptions(path, { metadata: { 'key "\n': HOSTILE } }));
  const source = document.addSource({ pid: 1, name: HOSTILE[0]!, labels: HOSTILE[1]!, sortIndex: 0 });
  const records = HOSTILE.map((_, i) => ({ name: i, begin: BigInt(10 * i + 1), end: BigInt(10 * i + 5) }));
  document.addChunk(
    source,
    rawChunk({ records, names: HOSTILE, threads: [{ tid: 2, name: HOSTILE[2]!, sortIndex: 0 }] }),
  );
  document.finish();
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  const wellFormed = (text: string) => Buffer.from(text, 'utf8').toString('utf8');
  assert.deepEqual(
    spansOf(trace, 'cpu_op').map((e) => e.name),
    HOSTILE.map(wellFormed),
  );
  const raw = gunzipSync(readFileSync(path)).toString('latin1');
  assert.equal(/\\ud[89a-f]/i.test(raw.slice(raw.indexOf('"traceEvents"'))), false, 'no escaped lone surrogates');
});

test('nanoseconds survive at any distance from the base, also before and after 2^53', async (t) => {
  const path = join(await temporaryDirectory(t), 'precise.trace.json.gz');
  const monotonicToWallNs = 1_769_071_195_000_000_123n;
  const options = writerOptions(path);
  const document = new TraceDocument({
    ...options,
    vitrine: { ...options.vitrine, monotonicToWallNs: String(monotonicToWallNs) },
  });
  const source = document.addSource(testProcess);
  const begins = [0n, 1n, 999n, 1000n, 123_456_789n, 86_400_000_000_001n, 999_999_999_999_999n];
  const baseNs = 77_000_000_000_007n;
  const records = begins.map((begin) => ({ begin, end: begin + 1n }));
  document.addChunk(source, rawChunk({ records, names: ['x'], threads: [thread], baseNs }));
  document.finish();
  const text = gunzipSync(readFileSync(path)).toString();
  const base = BigInt(/"baseTimeNanoseconds":(\d+)/.exec(text)![1]!);
  const found = [...text.matchAll(/"cat":"cpu_op".*"ts":(\d+)\.(\d{3}),"dur":(\d+\.\d{3})/g)];
  assert.deepEqual(
    found.map((m) => BigInt(m[1]!) * 1000n + BigInt(m[2]!) + base - monotonicToWallNs - baseNs),
    begins,
  );
  assert.deepEqual(new Set(found.map((m) => m[3])), new Set(['0.001']));
});

test('arguments of `more` records join those of the record before', async (t) => {
  const path = join(await temporaryDirectory(t), 'kernel.trace.json.gz');
  const document = new TraceDocument(writerOptions(path));
  const source = document.addSource(testProcess);
  document.addChunk(
    source,
    rawChunk({
      records: [
        { category: 'kernel', begin: 1n, end: 2n, id: 99n, schema: 'gpuPlace', words: [0, 1, 7, 32, 1024, 3, 4] },
        { kind: 'more', schema: 'gpuLaunch', words: [8, 1, 1, 128, 2, 1] },
        { begin: 3n, end: 4n },
      ],
      names: ['k'],
      threads: [thread],
    }),
  );
  document.finish();
  const [kernel] = spansOf(readTrace(path), 'kernel');
  assert.equal(kernel?.args?.correlation, 99);
  assert.equal(kernel?.args?.stream, 7);
  assert.deepEqual(kernel?.args?.grid, [8, 1, 1]);
  assert.deepEqual(kernel?.args?.block, [128, 2, 1]);
});

test('shapes are left out on request', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const document = new TraceDocument(writerOptions(path, { recordShapes: false }));
  const source = document.addSource(testProcess);
  const records = [{ begin: 1n, end: 2n, schema: 'gemm', words: [1, 2, 3, 4, 5, 0, 0] } as const];
  document.addChunk(source, rawChunk({ records, names: ['gemm'], threads: [thread] }));
  document.finish();
  assert.deepEqual(spansOf(readTrace(path), 'cpu_op')[0]?.args, { bytes: 5, module: 'gemm' });
});

test('dropped records are counted by reason: full rings, a slow writer, a full file', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path, { maxPendingBytes: 64 + 64 * 10 }));
  const source = writer.addSource(testProcess);
  const records = Array.from({ length: 10 }, (_, i) => ({ name: 0, begin: BigInt(2 * i + 1), end: BigInt(2 * i + 2) }));
  assert.equal(writer.write(source, rawChunk({ records, names: ['a'], threads: [thread], dropped: 5 })), true);
  // The writer has not answered yet: the second chunk does not fit, but its names are needed by the third.
  assert.equal(writer.write(source, rawChunk({ records, names: ['b'] })), false);
  while (writer.pendingBytes > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(writer.write(source, rawChunk({ records: [{ name: 2, begin: 100n, end: 101n }], names: ['c'] })), true);
  const info = await writer.finish();
  assert.equal(info.droppedRecords, 15);
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.deepEqual(trace.vitrine?.dropped, { buffer: 5, slow_writer: 10 });
  assert.equal(spansOf(trace, 'cpu_op').at(-1)?.name, 'c');

  const small = new TraceDocument(writerOptions(path, { maxFileBytes: 10 }));
  small.addChunk(small.addSource(testProcess), rawChunk({ records, names: ['a'], threads: [thread] }));
  assert.equal(small.finish().droppedRecords, 10);
  assert.deepEqual(traceProblems(readTrace(path)), []);
});

test('sources come while it records; of a process and thread that several share the names are given once', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path));
  const scheduler = writer.addSource(testProcess);
  const record = (begin: bigint, changes = {}) => ({ begin, end: begin + 5n, ...changes });
  writer.write(scheduler, rawChunk({ records: [record(10n)], names: ['phase'], threads: [thread] }));
  // As the native engine: its tables are known from the start, the first of its threads is that of another source.
  const tables = engineTables({ names: ['gemm', 'norm'], threads: [thread, { tid: 12, name: 'worker 0' }] }, 5);
  const engine = writer.addSource(testProcess, tables);
  for (let step = 0n; step < 3n; step++) {
    const records = [record(100n * step + 20n, { name: 1 }), record(100n * step + 20n, { thread: 1 })];
    writer.write(engine, rawChunk({ records }));
  }
  writer.flush();
  const late = writer.addSource({ pid: 9, name: 'front end', sortIndex: 9 });
  writer.write(late, rawChunk({ records: [record(7n)], names: ['http'], threads: [{ ...thread, name: 'http' }] }));
  writer.write(scheduler, rawChunk({ records: [record(500n, { name: 1 })], names: ['late phase'] }));
  await writer.finish();
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.deepEqual(
    spansOf(trace, 'cpu_op')
      .map((e) => `${e.pid}/${e.tid} ${e.name}`)
      .sort(),
    [
      '10/11 late phase',
      '10/11 phase',
      ...Array(3).fill('10/11 norm'),
      ...Array(3).fill('10/12 gemm'),
      '9/11 http',
    ].sort(),
  );
  const named = trace.traceEvents.filter((e) => e.name === 'thread_name' || e.name === 'process_name');
  assert.deepEqual(
    named.map((e) => `${e.pid}/${e.tid} ${e.args?.name}`),
    ['10/0 rank 0', '9/0 front end', '10/11 main', '10/12 worker 0', '9/11 http'],
  );
});

test('small chunks are handed over together, in order, whatever their base, and lose nothing', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path));
  const sources = [writer.addSource(testProcess), writer.addSource({ ...testProcess, pid: 11 })];
  const expected: number[][] = [[], []];
  let time = 0n;
  let dropped = 0;
  // Enough for several buffers; a new name now and then, another time base, a chunk larger than a buffer, an empty one.
  for (let i = 0; i < 1200; i++) {
    const at = i % 3 === 0 ? 1 : 0;
    const name = expected[at]!.length === 0 ? 0 : undefined;
    const length = i === 700 ? 20_000 : i % 50 === 49 ? 0 : 40;
    const baseNs = BigInt(Math.floor(i / 400));
    const records = Array.from({ length }, () => ({ name: name ?? 0, begin: ++time * 10n, end: time * 10n + 5n }));
    for (const { begin } of records) expected[at]!.push(Number(begin + baseNs));
    dropped += i % 7;
    const names = i < 3 || i % 100 === 0 ? [`name ${i}`] : [];
    const chunk = rawChunk({ records, names, threads: i === 0 || i === 1 ? [thread] : [], baseNs, dropped: i % 7 });
    assert.equal(writer.write(sources[at]!, chunk), true);
  }
  const info = await writer.finish();
  assert.equal(writer.pendingBytes, 0);
  assert.equal(info.droppedRecords, dropped);
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  for (const [at, pid] of [10, 11].entries()) {
    const spans = spansOf(trace, 'cpu_op').filter((e) => e.pid === pid);
    const since = (times: readonly number[]) => times.map((ns) => ns - times[0]!);
    assert.deepEqual(since(spans.map((e) => Math.round(e.ts * 1000))), since(expected[at]!));
  }
});

test('records are kept until flush() or finish(), or until they are many', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path, { maxPendingBytes: 2 ** 30 }));
  const source = writer.addSource(testProcess, { names: ['a'], threads: [thread] });
  let at = 1n;
  const write = (count: number) => {
    const records = Array.from({ length: count }, () => {
      at += 10n;
      return { begin: at, end: at + 1n };
    });
    return writer.write(source, rawChunk({ records }));
  };
  const taken = async (bytes: number) => {
    while (writer.pendingBytes > bytes) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  write(1);
  write(1);
  assert.equal(writer.pendingBytes, 128);
  assert.ok(writer.expectedFileBytes > writer.fileBytes);
  writer.flush();
  await taken(0);
  for (let i = 0; i < 70; i++) write(1 << 14); // 70 MiB
  await taken(64 << 20);
  assert.ok(writer.pendingBytes > 0, 'the last ones are kept');
  assert.equal((await writer.finish()).events, 4 + 5 + 1 + 1 + 70 * (1 << 14));
});

test('a directory that cannot be made or written is a coded error and leaves nothing', async (t) => {
  const directory = await temporaryDirectory(t);
  writeFileSync(join(directory, 'file'), '');
  const expected = { code: 'TRACE_NOT_WRITTEN', param: 'output_dir' };
  await assert.rejects(TraceWriter.open(writerOptions(join(directory, 'file', 'sub', 'a.trace.json.gz'))), expected);
  if (process.getuid?.() !== 0) {
    chmodSync(directory, 0o500);
    await assert.rejects(TraceWriter.open(writerOptions(join(directory, 'a.trace.json.gz'))), expected);
    chmodSync(directory, 0o700);
  }
  assert.deepEqual(readdirSync(directory), ['file']);
});

test('a file that cannot be completed fails finish(), not the recording', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path));
  mkdirSync(path);
  const source = writer.addSource(testProcess);
  writer.write(source, rawChunk({ records: [{ begin: 1n, end: 2n }], names: ['a'], threads: [thread] }));
  await assert.rejects(writer.finish(), { code: 'TRACE_NOT_WRITTEN' });
  assert.equal(writer.failure?.code, 'TRACE_NOT_WRITTEN');
  assert.equal(writer.write(source, rawChunk({ records: [] })), false);
  assert.deepEqual(readdirSync(directory), ['a.trace.json.gz'], 'the temporary file is gone');
});

test('a full disk is said to be one', () => {
  const error = notWritten('/x/a.trace.json.gz', Object.assign(new Error('ENOSPC: write'), { code: 'ENOSPC' }));
  assert.equal(error.code, 'TRACE_NOT_WRITTEN');
  assert.match(error.message, /\/x\/a\.trace\.json\.gz: no space left on the device/);
});

test('discard() leaves nothing; reserved metadata and broken chunks are refused', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path));
  await writer.discard();
  await assert.rejects(TraceWriter.open(writerOptions(path, { metadata: { traceEvents: [] } })), {
    code: 'INVALID_REQUEST',
    param: 'metadata.traceEvents',
  });
  const broken = await TraceWriter.open(writerOptions(path));
  broken.write(broken.addSource(testProcess), { records: new Uint8Array(100), names: [], threads: [] });
  await assert.rejects(broken.finish(), { code: 'INTERNAL' });
  assert.deepEqual(readdirSync(directory), []);
});

test('an empty trace is a valid file', async (t) => {
  const path = join(await temporaryDirectory(t), 'a.trace.json.gz');
  const writer = await TraceWriter.open(writerOptions(path));
  const info = await writer.finish();
  assert.equal(info.events, 0);
  assert.deepEqual(traceProblems(readTrace(path)), []);
});

test('the writer’s thread gives way to every other one, and no other thread of the process does', async (t) => {
  // Scheduling policy 5 is SCHED_IDLE; where that is not allowed the thread has the nice value 19.
  const polite = () =>
    readdirSync('/proc/self/task').filter((task) => {
      const fields = readFileSync(`/proc/self/task/${task}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
      return fields[38] === '5' || fields[16] === '19';
    }).length;
  const before = polite();
  const writer = await TraceWriter.open(writerOptions(join(await temporaryDirectory(t), 'a.trace.json.gz')));
  const during = polite();
  await writer.discard();
  assert.equal(during, before + 1);
});

test('a thread is used for one file after the other, also after one that failed', async (t) => {
  const directory = await temporaryDirectory(t);
  const threads = new TraceWriterThreads();
  const tasks = () => readdirSync('/proc/self/task').length;
  const write = async (name: string, options = {}) => {
    const writer = await TraceWriter.open(writerOptions(join(directory, name), { threads, ...options }));
    const source = writer.addSource(testProcess);
    writer.write(source, rawChunk({ records: [{ begin: 1n, end: 2n }], names: [name], threads: [thread] }));
    return writer;
  };
  await (await write('first.trace.json.gz')).finish();
  const one = tasks();
  await (await write('given-up.trace.json.gz')).discard();
  await assert.rejects(write('bad.trace.json.gz', { metadata: { traceEvents: [] } }), { code: 'INVALID_REQUEST' });
  const { path } = await (await write('last.trace.json.gz')).finish();
  assert.equal(tasks(), one);
  assert.deepEqual(
    spansOf(readTrace(path), 'cpu_op').map((event) => event.name),
    ['last.trace.json.gz'],
  );
  await threads.close();
});

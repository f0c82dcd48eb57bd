import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { mergeTracesInBackground } from '#vitrine/trace/merge/merge-in-background.js';
import { mergeTraces } from '#vitrine/trace/merge/trace-merger.js';
import { waitForTraceFiles } from '#vitrine/trace/merge/wait-for-traces.js';
import { traceFileName } from '#vitrine/trace/trace-file-name.js';
import { TraceDocument } from '#vitrine/trace/write/trace-document.js';
import { rawChunk } from '../support/span-chunks.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf, traceProblems } from '../support/trace-checker.js';
import { writerOptions, writeTraceFile } from '../support/trace-files.js';

const ID = '1769071195.5';
const WALL = 1_769_071_195_000_000_000n;

interface RankFile {
  readonly tp?: number;
  readonly dp?: number;
  readonly stage?: string;
  readonly prefix?: string;
  readonly hostId?: string;
  readonly monotonicToWallNs?: bigint;
  readonly clockOffsetNs?: bigint;
  readonly dropped?: number;
}

/** A rank's file by the product's own writer: one step with an op and an arrow, all ids equal in every file. */
function writeRank(directory: string, rank: RankFile = {}): string {
  const ranks = rank.dp === undefined ? { tp: rank.tp ?? 0 } : { tp: rank.tp ?? 0, dp: rank.dp };
  const path = join(directory, traceFileName({ prefix: rank.prefix, profileId: ID, ranks, stage: rank.stage }));
  const options = writerOptions(path);
  const document = new TraceDocument({
    ...options,
    vitrine: {
      ...options.vitrine,
      profileId: ID,
      ranks,
      ...(rank.stage === undefined ? {} : { stage: rank.stage }),
      hostId: rank.hostId ?? 'host-a',
      monotonicToWallNs: String(rank.monotonicToWallNs ?? WALL),
      clockOffsetNs: String(rank.clockOffsetNs ?? 0n),
      sharedFlowCategories: ['request'],
    },
    deviceProperties: [{ id: rank.tp ?? 0, name: 'cpu "quoted"' }],
  });
  const source = document.addSource({ pid: 500, name: 'rank', sortIndex: 500 });
  document.addChunk(
    source,
    rawChunk({
      names: ['step', 'gemm', 'ac2g', 'life'],
      threads: [{ tid: 9, name: 'engine', sortIndex: 0 }],
      dropped: rank.dropped ?? 0,
      records: [
        { category: 'cpuOp', name: 1, begin: 1_000_100n, end: 1_000_300n, id: 3n },
        { kind: 'flowStart', category: 'ac2g', name: 2, begin: 1_000_150n, id: 7n },
        { kind: 'flowEnd', category: 'ac2g', name: 2, begin: 1_000_250n, id: 7n },
        {
          kind: (rank.tp ?? 0) === 0 ? 'flowStart' : 'flowEnd',
          category: 'request',
          name: 3,
          begin: 1_000_200n,
          id: 11n,
        },
        { category: 'userAnnotation', name: 0, begin: 1_000_000n, end: 1_000_500n },
        { kind: 'async', category: 'request', name: 3, begin: 1_000_000n, end: 1_000_500n, id: BigInt(rank.tp ?? 0) },
      ],
    }),
  );
  document.finish();
  return path;
}

test('ranks are labelled and ordered, ids never cross them, sources stay', async (t) => {
  const directory = await temporaryDirectory(t);
  const paths = [
    writeRank(directory, { tp: 1, dp: 1 }),
    writeRank(directory, { tp: 0, dp: 0 }),
    writeRank(directory, { tp: 1, dp: 0, dropped: 4 }),
  ];
  const before = paths.map((path) => readFileSync(path));
  const [result, ...none] = await mergeTraces({ inputs: [directory] });
  assert.ok(result && none.length === 0);
  assert.equal(basename(result.output), `merged-${ID}.trace.json.gz`);
  const trace = readTrace(result.output);
  // The request arrow starts in rank 0 and ends in both others: it may, its category is shared.
  assert.deepEqual(
    traceProblems(trace).filter((problem) => !problem.includes('request life 11')),
    [],
  );
  assert.deepEqual(
    result.sources.map(({ label }) => label),
    ['[TP00-DP00]', '[TP01-DP00]', '[TP01-DP01]'],
  );
  assert.deepEqual(
    spansOf(trace, 'cpu_op').map((e) => [e.pid, e.args?.['External id']]),
    [
      ['[TP00-DP00] 500', 3],
      ['[TP01-DP00] 500', 2 ** 40 + 3],
      ['[TP01-DP01] 500', 2 * 2 ** 40 + 3],
    ],
  );
  const arrows = trace.traceEvents.filter((e) => e.cat === 'ac2g');
  assert.equal(new Set(arrows.map((e) => e.id)).size, 3);
  for (const id of new Set(arrows.map((e) => e.id))) {
    assert.equal(new Set(arrows.filter((e) => e.id === id).map((e) => e.pid)).size, 1, 'an arrow stays in its rank');
  }
  assert.deepEqual(
    new Set(trace.traceEvents.filter((e) => e.cat === 'request' && 'sf'.includes(e.ph)).map((e) => e.id)),
    new Set([11]),
  );
  const sortIndex = trace.traceEvents.filter((e) => e.name === 'process_sort_index' && e.pid !== '[TP00-DP00] Spans');
  assert.deepEqual(
    sortIndex.filter((e) => String(e.pid).endsWith(' 500')).map((e) => e.args?.sort_index),
    [500, 600, 100_000_600],
  );
  assert.ok(trace.traceEvents.some((e) => e.pid === '[TP01-DP00] Spans'));
  assert.equal(trace.deviceProperties.length, 3);
  assert.equal(result.devices, 3);
  assert.equal(result.events, trace.traceEvents.length);
  assert.equal(result.fileBytes, readFileSync(result.output).length);
  assert.equal(trace.vitrine?.droppedRecords, 4);
  assert.deepEqual(trace.vitrine?.dropped, { buffer: 4 });
  assert.deepEqual(
    paths.map((path) => readFileSync(path)),
    before,
    'sources are kept as they were',
  );
});

test('times: one host shares one clock, other hosts are offset, other bases are moved', async (t) => {
  const directory = await temporaryDirectory(t);
  writeRank(directory, { tp: 0 });
  // Read its wall clock 777 ns off: same host, so the difference is an error of reading.
  writeRank(directory, { tp: 1, monotonicToWallNs: WALL + 777n });
  // Another host, 5 µs behind, with another uptime.
  writeRank(directory, { tp: 2, hostId: 'host-b', monotonicToWallNs: WALL - 5_000n, clockOffsetNs: 5_000n });
  const [result] = await mergeTraces({ inputs: [directory] });
  const trace = readTrace(result!.output);
  assert.deepEqual(new Set(spansOf(trace, 'user_annotation').map((e) => e.ts)).size, 1);
  const base = 1767189312000000000n;
  const event = { ph: 'X', cat: 'c', name: 'n', pid: 1, tid: 1, ts: 10.5, dur: 0.25 };
  const a = `{"schemaVersion":1,"baseTimeNanoseconds":${base},"traceEvents":[${JSON.stringify(event)}]}`;
  const b = a.replace(String(base), String(base + 1_000_001n));
  const files = [a, b].map((text, i) => writeTraceFile(directory, `x-TP-${i}.trace.json.gz`, text));
  const [moved] = await mergeTraces({ inputs: files, output: join(directory, 'moved.json.gz') });
  const merged = readTrace(moved!.output);
  assert.deepEqual(
    merged.traceEvents.map((e) => e.ts),
    [10.5, 1010.501],
  );
});

test('by stage: one merged file each, never mixed; a prefix does not matter', async (t) => {
  const directory = await temporaryDirectory(t);
  for (const stage of ['EXTEND', 'DECODE'])
    for (const tp of [0, 1]) writeRank(directory, { tp, stage, prefix: 'my-run' });
  writeTraceFile(directory, 'other-1.5-TP-0.trace.json.gz', { traceEvents: [] });
  const results = await mergeTraces({ inputs: [directory], profileId: ID });
  assert.deepEqual(results.map((r) => basename(r.output)).sort(), [
    `merged-${ID}-DECODE.trace.json.gz`,
    `merged-${ID}-EXTEND.trace.json.gz`,
  ]);
  for (const { output, sources, stage } of results) {
    assert.equal(sources.length, 2);
    assert.ok(sources.every(({ path }) => path.includes(stage!)));
    assert.deepEqual(
      traceProblems(readTrace(output)).filter((p) => !p.includes('request')),
      [],
    );
  }
  // A second run finds the same files, not its own output.
  const again = await mergeTraces({ inputs: [directory], profileId: ID });
  assert.deepEqual(
    again.map((r) => r.events),
    results.map((r) => r.events),
  );
  await assert.rejects(mergeTraces({ inputs: [directory], profileId: ID, output: join(directory, 'x.json.gz') }), {
    code: 'TRACE_INVALID',
    param: 'output',
  });
});

test('every kind of damaged file is left out whole and named, the rest is merged', async (t) => {
  const directory = await temporaryDirectory(t);
  const sound = [writeRank(directory, { tp: 0 }), writeRank(directory, { tp: 1 })];
  const text = JSON.stringify({
    schemaVersion: 1,
    traceEvents: [{ ph: 'X', name: 'BAD', pid: 1, tid: 1, ts: 1, dur: 1 }],
  });
  const name = (tp: number) => join(directory, `${ID}-TP-${tp}.trace.json.gz`);
  const put = (tp: number, bytes: Buffer | string) => writeFileSync(name(tp), bytes);
  const random = Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7919 * (i >> 3)) & 255));
  put(2, gzipSync(text).subarray(0, -12));
  const flipped = gzipSync(text);
  flipped[30] = flipped[30]! ^ 0xff;
  put(3, flipped);
  const badSum = gzipSync(text);
  badSum[badSum.length - 6] = badSum[badSum.length - 6]! ^ 1;
  put(4, badSum);
  put(5, '');
  put(6, gzipSync(''));
  put(7, random);
  put(8, gzipSync(text.slice(0, -3)));
  put(9, gzipSync(text.replace('"ts":1', '"ts":01')));
  put(10, gzipSync('{"a":1}'));
  put(11, gzipSync(text.replace('}]}', '}{}]}')));
  mkdirSync(name(12));
  truncateSync(writeRank(directory, { tp: 13 }), 300);
  put(14, gzipSync(`${text}garbage`));
  put(15, gzipSync('[]').subarray(0, 10));
  const [result] = await mergeTraces({ inputs: [directory] });
  assert.deepEqual(
    result!.sources.map(({ path }) => path),
    sound,
  );
  const reasons = new Map(result!.skipped.map(({ path, reason }) => [path, reason]));
  assert.deepEqual([...reasons.keys()].sort(), Array.from({ length: 14 }, (_, i) => name(i + 2)).sort());
  const expected: Record<number, RegExp> = {
    2: /compressed data is cut off/,
    3: /corrupt/,
    4: /corrupt/,
    5: /empty/,
    6: /empty/,
    7: /not JSON/,
    8: /cut off/,
    9: /not JSON.*at byte/,
    10: /no list of traceEvents/,
    11: /not JSON/,
    12: /directory/,
    13: /cut off/,
    14: /after the end/,
    15: /cut off/,
  };
  for (const [tp, pattern] of Object.entries(expected))
    assert.match(reasons.get(name(Number(tp)))!, pattern, `TP ${tp}`);
  const trace = readTrace(result!.output);
  assert.deepEqual(
    traceProblems(trace).filter((p) => !p.includes('request')),
    [],
  );
  assert.ok(!trace.traceEvents.some((e) => e.name === 'BAD'));
  assert.equal(result!.events, trace.traceEvents.length);
  assert.deepEqual(trace.vitrine?.skipped, result!.skipped);
});

test('where nothing is left the request fails with all reasons and leaves no file', async (t) => {
  const directory = await temporaryDirectory(t);
  await assert.rejects(mergeTraces({ inputs: [directory] }), {
    code: 'TRACE_INVALID',
    message: /no trace file of a rank/,
  });
  await assert.rejects(mergeTraces({ inputs: [] }), { code: 'TRACE_INVALID' });
  const missing = join(directory, 'a-TP-0.trace.json.gz');
  await assert.rejects(mergeTraces({ inputs: [missing] }), { code: 'TRACE_INVALID', message: /does not exist/ });
  const broken = writeTraceFile(directory, 'b-TP-0.trace.json.gz', '{');
  await assert.rejects(mergeTraces({ inputs: [broken, missing] }), {
    code: 'TRACE_INVALID',
    message: /cut off.*not exist/,
  });
  const unnamed = writeTraceFile(directory, 'trace.json', { traceEvents: [] });
  await assert.rejects(mergeTraces({ inputs: [unnamed] }), { code: 'TRACE_INVALID', param: 'profile_id' });
  await assert.rejects(mergeTraces({ inputs: [unnamed], output: unnamed }), { code: 'TRACE_INVALID', param: 'output' });
  await assert.rejects(mergeTraces({ inputs: [unnamed], output: join(unnamed, 'sub.gz') }), {
    code: 'TRACE_NOT_WRITTEN',
  });
  assert.deepEqual(readdirSync(directory).sort(), ['b-TP-0.trace.json.gz', 'trace.json']);
});

test('a Kineto file: labels by file name or global rank, GPU sort indices, ids in arguments, odd ids', async (t) => {
  const directory = await temporaryDirectory(t);
  const kineto = readFileSync(new URL('../fixtures/traces/kineto.json', import.meta.url), 'utf8');
  const unnamed = [0, 1].map((rank) =>
    writeTraceFile(directory, `worker${rank}.json.gz`, kineto.replace('"rank": 0', `"rank": ${rank}`)),
  );
  const [result] = await mergeTraces({ inputs: unnamed, profileId: 'p' });
  assert.deepEqual(
    result!.sources.map(({ label }) => label),
    ['[Rank00]', '[Rank01]'],
  );
  const trace = readTrace(result!.output);
  const source = readTrace(unnamed[0]!);
  assert.deepEqual(
    traceProblems(trace).filter((p) => !/has no name/.test(p)),
    traceProblems(source).filter((p) => !/has no name/.test(p)),
  );
  const second = trace.traceEvents.slice(source.traceEvents.length);
  const kernel = second.find((e) => e.cat === 'kernel');
  assert.equal(kernel?.args?.correlation, 2 ** 40 + 42);
  assert.equal(kernel?.args?.['External id'], 2 ** 40 + 1001);
  assert.equal(second.find((e) => e.ph === 'f' && e.name === 'ac2g')?.id, 2 ** 40 + 42);
  const gpu = second.find((e) => e.name === 'process_sort_index' && e.pid === '[Rank01] 0');
  assert.equal(gpu?.args?.sort_index, 100);
  // Everything else is as it was.
  const strip = (e: (typeof second)[number]) => ({
    ...e,
    pid: 0,
    id: 0,
    args: { ...e.args, correlation: 0, 'External id': 0, sort_index: 0 },
  });
  assert.deepEqual(second.map(strip), source.traceEvents.map(strip));
  const odd = ['"0x1f"', '-5', '123456789012345678901234', '1.5', '"x"', '{"local":"0x1"}'].map(
    (id) =>
      `{"ph":"s","cat":"c","name":"n","pid":1,"tid":1,"ts":1,"id":${id}},{"ph":"f","bp":"e","cat":"c","name":"n","pid":1,"tid":1,"ts":2,"id":${id}}`,
  );
  const files = [0, 1].map((i) =>
    writeTraceFile(directory, `odd${i}-TP-${i}.trace.json.gz`, `{"traceEvents":[${odd}]}`),
  );
  const [oddResult] = await mergeTraces({ inputs: files, profileId: 'odd' });
  const ids = readTrace(oddResult!.output).traceEvents.map((e) => e.id);
  assert.equal(new Set(ids).size, 12, 'six arrows in each of two files');
  assert.ok(ids.every((id) => Number.isSafeInteger(id)));
  for (let i = 0; i < ids.length; i += 2) assert.equal(ids[i], ids[i + 1]);
});

test('ranks inside the file win over its name; two files of one rank keep apart', async (t) => {
  const directory = await temporaryDirectory(t);
  const event = { ph: 'X', cat: 'c', name: 'n', pid: 1, tid: 1, ts: 1, dur: 1 };
  const put = (name: string, distributedInfo: object | undefined) =>
    writeTraceFile(directory, name, { ...(distributedInfo && { distributedInfo }), traceEvents: [event] });
  const files = [
    put('a-TP-7.trace.json.gz', { rank: 0, tp_rank: 3, pp_rank: 12 }),
    put('b-TP-3.trace.json.gz', { rank: 5 }),
    put('c-TP-3.trace.json.gz', undefined),
    put('d.trace.json.gz', undefined),
  ];
  const [result] = await mergeTraces({ inputs: files, profileId: 'p' });
  assert.deepEqual(
    result!.sources.map(({ path, label }) => [basename(path)[0], label]),
    [
      ['d', '[Unknown]'],
      ['c', '[TP03]'],
      ['b', '[TP03 #2]'],
      ['a', '[TP03-PP12]'],
    ],
  );
  assert.equal(new Set(readTrace(result!.output).traceEvents.map((e) => e.pid)).size, 4);
});

test('waiting ends when the last file is there, or with the names of the missing', async (t) => {
  const directory = await temporaryDirectory(t);
  const paths = ['a', 'b'].map((name) => join(directory, name));
  writeFileSync(paths[0]!, '');
  const late = sleep(120).then(() => writeFileSync(paths[1]!, ''));
  assert.deepEqual(await waitForTraceFiles({ paths, timeoutSeconds: 30 }), { present: paths, missing: [] });
  await late;
  const more = [...paths, join(directory, 'c')];
  assert.deepEqual(await waitForTraceFiles({ paths: more, timeoutSeconds: 0.12 }), {
    present: paths,
    missing: more.slice(2),
  });
  const signal = AbortSignal.timeout(20);
  assert.deepEqual((await waitForTraceFiles({ paths: more, timeoutSeconds: 600, signal })).missing, more.slice(2));
});

test('merging in the background gives the same result and the same errors', async (t) => {
  const directory = await temporaryDirectory(t);
  for (const tp of [0, 1]) writeRank(directory, { tp });
  const here = await mergeTraces({ inputs: [directory] });
  const bytes = readFileSync(here[0]!.output);
  assert.deepEqual(await mergeTracesInBackground({ inputs: [directory] }), here);
  assert.deepEqual(readFileSync(here[0]!.output), bytes);
  await assert.rejects(mergeTracesInBackground({ inputs: [] }), { name: 'VitrineError', code: 'TRACE_INVALID' });
});

test('an abort leaves nothing behind', async (t) => {
  const directory = await temporaryDirectory(t);
  writeRank(directory);
  await assert.rejects(mergeTraces({ inputs: [directory], signal: AbortSignal.abort() }), { code: 'ABORTED' });
  assert.equal(readdirSync(directory).length, 1);
  assert.equal(existsSync(join(directory, `merged-${ID}.trace.json.gz`)), false);
});

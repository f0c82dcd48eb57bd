import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { mergeTraces } from '#vitrine/trace/merge/trace-merger.js';
import { summariseTrace } from '#vitrine/trace/summary/trace-summary.js';
import { memoryFileName, parseTraceFileName } from '#vitrine/trace/trace-file-name.js';
import {
  heapState,
  type MemoryFileOptions,
  type MemorySample,
  MemoryTimeline,
  sampleProcessMemory,
} from '#vitrine/trace/write/memory-snapshot.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, traceProblems } from '../support/trace-checker.js';
import { writerOptions, writeTraceFile } from '../support/trace-files.js';

const ID = '1769071195.5';

const sample = (i: number): MemorySample => ({
  ns: 1_000_000_000 + i * 1000,
  usedTokens: i,
  cachedTokens: 2 * i,
  freeTokens: 1000 - 3 * i,
  running: i % 5,
  waiting: i % 3,
  residentBytes: 2 ** 33 + i,
  heapUsedBytes: 10_000 + i,
  heapTotalBytes: 20_000,
  externalBytes: 3,
});

const snapshot = {
  weightBytes: 2 ** 40,
  kvCacheBytes: 5000,
  workspaceBytes: 600,
  kvBytesPerToken: 5,
  blockSize: 16,
  totalBlocks: 62,
  blocks: { free: 50, cached: 8, held: 4 },
  residentBytes: 2 ** 33,
  availableBytes: 2 ** 34,
  heap: { usedBytes: 1, totalBytes: 2, limitBytes: 3, externalBytes: 4, arrayBufferBytes: 5 },
};

function fileOptions(path: string): MemoryFileOptions {
  const { vitrine, deviceProperties, distributedInfo } = writerOptions(path);
  const process = { pid: 10, name: 'rank "0"', sortIndex: 10 };
  return { path, process, snapshot, vitrine, deviceProperties, distributedInfo: distributedInfo! };
}

test('counters over time and the state at the end, in a file of the dialect', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'new', memoryFileName({ profileId: ID, ranks: { tp: 0 } }));
  const timeline = new MemoryTimeline({ capacity: 100 });
  for (let i = 0; i < 10; i++) timeline.add(sample(i));
  const info = await timeline.write(fileOptions(path));
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.equal(info.events, trace.traceEvents.length);
  assert.equal(info.fileBytes, readFileSync(path).length);
  assert.deepEqual(readdirSync(join(directory, 'new')), [basename(path)]);
  assert.deepEqual(trace.vitrineMemory, {
    version: 1,
    ...snapshot,
    samples: { taken: 10, kept: 10 },
    peak: {
      usedTokens: 9,
      cachedTokens: 18,
      freeTokens: 1000,
      running: 4,
      waiting: 2,
      residentBytes: 2 ** 33 + 9,
      heapUsedBytes: 10_009,
      heapTotalBytes: 20_000,
      externalBytes: 3,
    },
  });
  const counters = trace.traceEvents.filter((e) => e.ph === 'C');
  const at = (i: number) =>
    Object.fromEntries(counters.slice(6 * i, 6 * i + 6).map((e) => [e.name, e.args])) as Record<string, unknown>;
  assert.equal(counters.length, 60);
  assert.deepEqual(at(7), {
    'KV cache': { 'used tokens': 7, 'cached tokens': 14, 'free tokens': 979 },
    requests: { 'running requests': 2, 'waiting requests': 1 },
    'resident bytes': { value: 2 ** 33 + 7 },
    'JS heap used bytes': { value: 10_007 },
    'JS heap total bytes': { value: 20_000 },
    'JS external bytes': { value: 3 },
  });
  const times = counters.map((e) => Math.round(e.ts * 1000));
  assert.equal(times.at(-1)! - times[0]!, 9000);
});

test('endless samples are thinned evenly; the first, the last and the peaks stay', async (t) => {
  const path = join(await temporaryDirectory(t), 'm.json.gz');
  for (const total of [15, 16, 17, 32, 33, 100, 1000, 1023, 1024, 1025]) {
    const timeline = new MemoryTimeline({ capacity: 16 });
    for (let i = 0; i < total; i++) timeline.add(sample(i === 501 ? 9999 : i));
    assert.ok(timeline.kept <= 16 && (total < 16 || timeline.kept >= 8), `${timeline.kept} of ${total}`);
    await timeline.write(fileOptions(path));
    const { traceEvents, vitrineMemory } = readTrace(path);
    const used = traceEvents.filter((e) => e.name === 'KV cache').map((e) => e.args?.['used tokens'] as number);
    const { samples, peak } = vitrineMemory as {
      samples: { taken: number; kept: number };
      peak: Record<string, number>;
    };
    assert.deepEqual(samples, { taken: total, kept: used.length });
    assert.equal(used[0], 0);
    assert.equal(used.at(-1), total - 1);
    const steps = new Set(used.slice(1, -1).map((value, i) => value - used[i]!));
    assert.ok(steps.size <= 1, `${total}: ${used}`);
    assert.equal(peak.usedTokens, total > 501 ? 9999 : total - 1);
  }
});

test('no samples, books that do not add up, a directory that cannot be written', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'm.json.gz');
  const timeline = new MemoryTimeline({ capacity: 2 });
  await timeline.write(fileOptions(path));
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  assert.equal((trace.vitrineMemory as { peak: unknown }).peak, null);
  const wrong = { ...snapshot, blocks: { ...snapshot.blocks, held: 5 } };
  await assert.rejects(timeline.write({ ...fileOptions(path), snapshot: wrong }), /50 free, 8 cached and 5 held/);
  writeFileSync(join(directory, 'file'), '');
  const expected = { code: 'TRACE_NOT_WRITTEN', param: 'output_dir' };
  await assert.rejects(timeline.write(fileOptions(join(directory, 'file', 'm.json.gz'))), expected);
});

test('a memory snapshot is not taken for the trace of a rank, by its name or, renamed, by what is in it', async (t) => {
  const directory = await temporaryDirectory(t);
  const name = memoryFileName({ prefix: 'run', profileId: ID, ranks: { tp: 1, dp: 2 }, stage: 'DECODE' });
  assert.equal(name, `run-${ID}-TP-1-DP-2-memory-DECODE.json.gz`);
  assert.equal(parseTraceFileName(name), undefined);
  assert.throws(() => memoryFileName({ profileId: '../x', ranks: {} }), { code: 'INVALID_REQUEST' });
  const path = join(directory, name);
  const timeline = new MemoryTimeline({ capacity: 2 });
  timeline.add(sample(1));
  await timeline.write(fileOptions(path));
  await assert.rejects(mergeTraces({ inputs: [directory] }), { code: 'TRACE_INVALID', message: /no trace file/ });
  await assert.rejects(summariseTrace(path, 5), { code: 'TRACE_INVALID', message: /is a memory snapshot/ });

  const renamed = join(directory, `${ID}-TP-1.trace.json.gz`);
  copyFileSync(path, renamed);
  const sound = writeTraceFile(directory, `${ID}-TP-0.trace.json.gz`, { traceEvents: [] });
  const [result] = await mergeTraces({ inputs: [directory] });
  assert.deepEqual(
    result!.sources.map((source) => source.path),
    [sound],
  );
  assert.match(result!.skipped[0]!.reason, /memory snapshot/);
});

test('what a process can say of itself is in bytes and makes sense', () => {
  const { residentBytes, heapUsedBytes, heapTotalBytes, externalBytes } = sampleProcessMemory();
  assert.ok(residentBytes > 1e7 && heapUsedBytes > 1e6 && heapTotalBytes >= heapUsedBytes && externalBytes > 0);
  const heap = heapState();
  assert.ok(heap.limitBytes > heap.totalBytes && heap.totalBytes >= heap.usedBytes);
  assert.ok(heap.externalBytes > 0 && heap.arrayBufferBytes > 0);
});

// What the writer of a trace file spends on a record: CPU time of a TraceDocument, from records to a compressed file, as
// a ratio to the bare deflate of the same text in the same run: node bench/trace-encode.mjs
// It also counts the collections by V8 that each of the two causes.
// Options: --steps N (a round, of 45 records each)  --rounds N
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { constants, deflateRawSync, gunzipSync } from 'node:zlib';
import { SpanRecorder } from '../dist/trace/record/span-recorder.js';
import { TraceDocument } from '../dist/trace/write/trace-document.js';

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '5000' }, rounds: { type: 'string', default: '7' } },
});
const [steps, rounds] = [values.steps, values.rounds].map(Number);
const PART_BYTES = 1 << 20;
const LAYERS = 5;

/** Chunks of a small model's steps: modules around matrix products, rows and attention; counters beside them. */
function recordSteps() {
  const clock = { baseNs: process.hrtime.bigint(), ns: 0, now: () => (clock.ns += 700 + ((clock.ns >> 3) & 511)) };
  const recorder = new SpanRecorder({ capacity: 1 << 14, thread: { tid: 4711, name: 'engine', sortIndex: 0 }, clock });
  recorder.start();
  const op = (name, layer, schema, ...args) => {
    const mark = recorder.begin('cpuOp', recorder.name(name), layer);
    recorder.args(mark, schema, ...args);
    recorder.end(mark);
  };
  const chunks = [];
  for (let step = 0; step < steps; step++) {
    const forward = recorder.begin('userAnnotation', recorder.name('step[decode]'));
    recorder.args(forward, 'step', step, 1, 4, 4, 16 * step, 0);
    for (let layer = 0; layer < LAYERS; layer++) {
      const path = (part) => recorder.name(`model.layers.${layer}.${part}`);
      const module = recorder.begin('cpuOp', recorder.name('LlamaDecoderLayer'), layer);
      recorder.args(module, 'module', path('self_attn'));
      op('rms_norm', layer, 'rows', 4, 64, 2304, path('input_layernorm'));
      op('gemm', layer, 'gemm', 4, 64, 96, 64, 50_000 + step, path('self_attn.qkv_proj'));
      op('attention', layer, 'attention', 4, 8, 8, step, 4096 + 512 * step, path('self_attn.attn'));
      op('gemm', layer, 'gemm', 4, 64, 64, 64, 34_816, path('self_attn.o_proj'));
      op('gemm', layer, 'gemm', 4, 64, 344, 64, 90_624, path('mlp.gate_up_proj'));
      op('silu_and_mul', layer, 'rows', 4, 172, 5504, path('mlp'));
      op('gemm', layer, 'gemm', 4, 172, 64, 172, 47_872, path('mlp.down_proj'));
      recorder.end(module);
    }
    recorder.end(forward);
    recorder.counter(recorder.name('KV cache'), 'cacheUse', 4 * step, 128, 8192 - 4 * step);
    for (const phase of ['schedule', 'build batch', 'process results']) {
      recorder.end(recorder.begin('scheduler', recorder.name(phase)));
    }
    if (recorder.pending > (1 << 14) - 100) chunks.push(recorder.drain());
  }
  const rest = recorder.drain();
  if (rest !== undefined) chunks.push(rest);
  if (recorder.dropped > 0) throw new Error(`${recorder.dropped} records were dropped`);
  return chunks;
}

/** Microseconds of CPU time of the process, and when it was. */
function cpuOf(work) {
  const from = performance.now();
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return { us: user + system, from, to: performance.now() };
}

const collections = [];
new PerformanceObserver((list) => {
  for (const { startTime } of list.getEntries()) collections.push(startTime);
}).observe({ entryTypes: ['gc'] });

const directory = mkdtempSync(join(tmpdir(), 'vitrine-trace-encode-'));
try {
  const path = join(directory, 'a.trace.json.gz');
  const chunks = recordSteps();
  const records = chunks.reduce((sum, chunk) => sum + chunk.records.length / 64 - 1, 0);
  const write = () => {
    const document = new TraceDocument({
      path,
      deviceProperties: [],
      metadata: {},
      vitrine: { version: '0', profileId: '0', ranks: {}, hostId: '', monotonicToWallNs: '0' },
      recordShapes: true,
      maxFileBytes: 2 ** 40,
    });
    const source = document.addSource({ pid: 4711, name: 'rank', sortIndex: 0 });
    for (const chunk of chunks) document.addChunk(source, chunk);
    return document.finish();
  };
  const { textBytes } = write();
  const text = gunzipSync(readFileSync(path));
  const deflate = () => {
    for (let at = 0; at < text.length; at += PART_BYTES) {
      deflateRawSync(text.subarray(at, at + PART_BYTES), { level: 1, finishFlush: constants.Z_SYNC_FLUSH });
    }
  };
  const measured = Array.from({ length: rounds }, () => ({ bare: cpuOf(deflate), whole: cpuOf(write) }));
  await new Promise((resolve) => setTimeout(resolve, 10)); // the observer hears of collections later
  const best = (runs) => Math.min(...runs.map(({ us }) => us));
  const bare = best(measured.map((round) => round.bare));
  const whole = best(measured.map((round) => round.whole));
  const collected = (runs) =>
    runs.reduce((sum, { from, to }) => sum + collections.filter((at) => from <= at && at <= to).length, 0) / rounds;
  const show = (us) =>
    `${((us * 1000) / records).toFixed(0)} ns a record, ${(records / us).toFixed(2)} million records/s, ${(textBytes / us).toFixed(0)} MB/s of text`;
  const showCollections = (run) => `${collected(measured.map((round) => round[run])).toFixed(1)} collections a round`;
  console.log(`text         ${records} records, ${(textBytes / records).toFixed(0)} bytes each`);
  console.log(`bare deflate ${show(bare)}, ${showCollections('bare')}`);
  console.log(
    `document     ${show(whole)}, ${showCollections('whole')} (${(whole / bare).toFixed(2)} times the bare deflate)`,
  );
  console.log(`encoding     ${show(whole - bare)} (the difference)`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

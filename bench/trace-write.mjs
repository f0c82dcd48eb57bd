// What recording a step costs the thread that serves: TraceWriter.write() of the chunks of small steps, as a ratio to a
// bare copy of the same bytes: node bench/trace-write.mjs
// Options: --records N (a chunk, 64 bytes each)  --chunks N  --burst N (chunks a millisecond)
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  CATEGORY_ID,
  CHUNK_HEADER,
  CHUNK_MAGIC,
  RECORD_KIND,
  SPAN_LAYOUT_VERSION,
} from '../dist/trace/record/span-layout.js';
import { NO_TABLES } from '../dist/trace/record/span-source.js';
import { TraceWriter } from '../dist/trace/write/trace-writer.js';

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '80' },
    chunks: { type: 'string', default: '20000' },
    burst: { type: 'string', default: '10' },
  },
});
const [records, chunks, burst] = [values.records, values.chunks, values.burst].map(Number);
const bytes = 64 * (records + 1);

function chunkOf(step) {
  const buffer = new ArrayBuffer(bytes);
  const view = new DataView(buffer);
  view.setUint32(CHUNK_HEADER.magic, CHUNK_MAGIC, true);
  view.setUint32(CHUNK_HEADER.version, SPAN_LAYOUT_VERSION, true);
  for (let i = 0; i < records; i++) {
    const at = 64 + 64 * i;
    view.setUint16(at, RECORD_KIND.span | (CATEGORY_ID.cpuOp << 8), true);
    view.setUint32(at + 4, i % 10, true);
    view.setBigInt64(at + 8, BigInt(step * 100_000 + i * 1000), true);
    view.setBigInt64(at + 16, BigInt(step * 100_000 + i * 1000 + 900), true);
    view.setInt16(at + 34, i % 5, true);
  }
  return new Uint8Array(buffer);
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** Nanoseconds a chunk that `work` takes, the median over the bursts, and their mean. */
async function measure(work) {
  const times = [];
  for (let step = 0; step < chunks; step += burst) {
    const made = Array.from({ length: burst }, (_, i) => chunkOf(step + i));
    const begin = performance.now();
    for (const records of made) work(records);
    times.push(((performance.now() - begin) * 1e6) / burst);
    await turn();
  }
  return { median: median(times), mean: times.reduce((sum, time) => sum + time, 0) / times.length };
}

const directory = mkdtempSync(join(tmpdir(), 'vitrine-trace-write-'));
try {
  const writer = await TraceWriter.open({
    path: join(directory, 'a.trace.json.gz'),
    deviceProperties: [],
    metadata: {},
    vitrine: { version: '0', profileId: '0', ranks: {}, hostId: '', monotonicToWallNs: '0' },
    recordShapes: true,
    maxFileBytes: 2 ** 32,
    maxPendingBytes: 2 ** 30,
  });
  const names = Array.from({ length: 10 }, (_, i) => `op ${i}`);
  const threads = [{ tid: 1, name: 'engine', sortIndex: 0 }];
  const source = writer.addSource({ pid: 1, name: 'rank', sortIndex: 0 }, { names, threads });
  const target = new Uint8Array(1 << 20);
  let at = 0;
  const copy = await measure((records) => {
    if (at + bytes > target.length) at = 0;
    target.set(records, at);
    at += bytes;
  });
  const write = await measure((records) => writer.write(source, { records, ...NO_TABLES }));
  const begin = performance.now();
  const { droppedRecords, events } = await writer.finish();
  const rest = performance.now() - begin;
  if (droppedRecords > 0) throw new Error(`${droppedRecords} records were dropped`);
  const show = ({ median, mean }) => `median ${median.toFixed(0)} ns, mean ${mean.toFixed(0)} ns`;
  console.log(`chunks       ${chunks} of ${bytes} bytes, ${burst} a millisecond; ${events} events`);
  console.log(`bare copy    ${show(copy)}`);
  console.log(
    `write()      ${show(write)} (${(write.median / copy.median).toFixed(1)} and ${(write.mean / copy.mean).toFixed(1)} times the copy)`,
  );
  console.log(`finish()     ${(rest / 1000).toFixed(1)} s after the last write`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

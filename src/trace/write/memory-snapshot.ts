// Memory over time and at its end, as one file: what the activity MEM of a profile writes. Samples are taken on the
// thread that calls; the file is written by the trace writer's thread.
//
// The file is a Chrome trace (JSON, gzip) that opens in Perfetto as counter tracks of one process:
//
//   KV cache             used tokens, cached tokens, free tokens    of requests that run; of the prefix cache; of nobody
//   requests             running requests, waiting requests
//   resident bytes       value    of the whole process, weights included
//   JS heap used bytes, JS heap total bytes, JS external bytes      value
//
// Times are those of the profile's trace files: microseconds after `baseTimeNanoseconds`. Beside `traceEvents` the file
// has the top-level object `vitrineMemory`:
//
//   version            1
//   weightBytes, kvCacheBytes, workspaceBytes      of the engine; they do not change
//   kvBytesPerToken    KV bytes of one token over all layers
//   blockSize          tokens of a block of the KV cache
//   totalBlocks        blocks of the cache = blocks.free + blocks.cached + blocks.held
//   blocks             {free, cached, held}: free, in the prefix cache and of no request, held by running requests
//   residentBytes      of the process
//   availableBytes     that it may still allocate, by the machine and its cgroup
//   heap               {usedBytes, totalBytes, limitBytes, externalBytes, arrayBufferBytes}: V8's, of the rank's thread
//   samples            {taken, kept}: of the counters; every n-th was kept where there were too many
//   peak               highest value of each counter over all samples taken, also those not kept; null without samples
//
// All but `samples` and `peak` is the state at the end of the profile. The key `vitrine` is that of trace files. The
// object `vitrineMemory` is what tells the file from a trace of a rank: merger and summary refuse it by that.
import { memoryUsage } from 'node:process';
import { getHeapStatistics } from 'node:v8';
import { invariant } from '../../util/errors.js';
import { SpanRecorder } from '../record/span-recorder.js';
import type { SpanProcess } from '../record/span-source.js';
import type { DeviceProperties, DistributedInfo } from '../trace-event.js';
import type { TraceDocumentOptions, TraceFileInfo } from './trace-document.js';
import { TraceWriter } from './trace-writer.js';
import type { TraceWriterThreads } from './trace-writer-threads.js';

export const MEMORY_MEMBER = 'vitrineMemory';
/** Why such a file is neither merged nor summarised. */
export const NO_RANK_TRACE = 'it is a memory snapshot, not the trace of a rank';
const VERSION = 1;

const COUNTERS = [
  'usedTokens',
  'cachedTokens',
  'freeTokens',
  'running',
  'waiting',
  'residentBytes',
  'heapUsedBytes',
  'heapTotalBytes',
  'externalBytes',
] as const;

/** The counters at one time. */
export interface MemorySample extends Readonly<Record<(typeof COUNTERS)[number], number>> {
  /** CLOCK_MONOTONIC. */
  readonly ns: number;
}

/** The part of a sample that any process can tell of itself. Takes some ten microseconds. */
export function sampleProcessMemory(): Pick<
  MemorySample,
  'residentBytes' | 'heapUsedBytes' | 'heapTotalBytes' | 'externalBytes'
> {
  const { rss, heapUsed, heapTotal, external } = memoryUsage();
  return { residentBytes: rss, heapUsedBytes: heapUsed, heapTotalBytes: heapTotal, externalBytes: external };
}

export interface HeapState {
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** Of V8's old generation and all else of the heap: beyond it the process ends. */
  readonly limitBytes: number;
  readonly externalBytes: number;
  readonly arrayBufferBytes: number;
}

/** Of the calling thread's heap. */
export function heapState(): HeapState {
  const { used_heap_size, total_heap_size, heap_size_limit, external_memory } = getHeapStatistics();
  return {
    usedBytes: used_heap_size,
    totalBytes: total_heap_size,
    limitBytes: heap_size_limit,
    externalBytes: external_memory,
    arrayBufferBytes: memoryUsage().arrayBuffers,
  };
}

/** What holds the memory, at one time. Fields as in the file. */
export interface MemorySnapshot {
  readonly weightBytes: number;
  readonly kvCacheBytes: number;
  readonly workspaceBytes: number;
  readonly kvBytesPerToken: number;
  readonly blockSize: number;
  readonly totalBlocks: number;
  readonly blocks: { readonly free: number; readonly cached: number; readonly held: number };
  readonly residentBytes: number;
  readonly availableBytes: number;
  readonly heap: HeapState;
}

export interface MemoryFileOptions {
  /** See memoryFileName(). */
  readonly path: string;
  /** The counters' process. */
  readonly process: SpanProcess;
  readonly snapshot: MemorySnapshot;
  readonly vitrine: TraceDocumentOptions['vitrine'];
  readonly deviceProperties: readonly DeviceProperties[];
  readonly distributedInfo?: DistributedInfo;
  readonly threads?: TraceWriterThreads;
}

/** Takes samples in the order of time; holds `capacity` of them at most, 80 bytes each. */
export class MemoryTimeline {
  readonly #capacity: number;
  /** One row a sample: its time, then the counters. */
  readonly #rows: Float64Array;
  readonly #width = COUNTERS.length + 1;
  readonly #latest = new Float64Array(COUNTERS.length + 1);
  readonly #peak = new Float64Array(COUNTERS.length).fill(Number.NEGATIVE_INFINITY);
  #kept = 0;
  #taken = 0;
  /** Every so many samples one is kept. */
  #stride = 1;

  constructor({ capacity }: { readonly capacity: number }) {
    invariant(Number.isInteger(capacity) && capacity >= 2, `capacity ${capacity} is not a whole number from 2 on`);
    this.#capacity = capacity;
    this.#rows = new Float64Array(capacity * this.#width);
  }

  get kept(): number {
    return this.#kept;
  }

  /** Where the room is full, every second sample is given up, and from then on only every second one is kept. */
  add(sample: MemorySample): void {
    this.#latest[0] = sample.ns;
    for (let i = 0; i < COUNTERS.length; i++) {
      const value = sample[COUNTERS[i]!];
      this.#latest[i + 1] = value;
      if (value > this.#peak[i]!) this.#peak[i] = value;
    }
    if (this.#taken++ % this.#stride !== 0) return;
    if (this.#kept === this.#capacity) {
      this.#halve();
      if ((this.#taken - 1) % this.#stride !== 0) return;
    }
    this.#rows.set(this.#latest, this.#kept++ * this.#width);
  }

  /** Rejects with VitrineError TRACE_NOT_WRITTEN; no file of that name exists then. */
  async write({ path, process, snapshot, ...file }: MemoryFileOptions): Promise<TraceFileInfo> {
    const { free, cached, held } = snapshot.blocks;
    invariant(
      free + cached + held === snapshot.totalBlocks,
      `${free} free, ${cached} cached and ${held} held blocks are not ${snapshot.totalBlocks}`,
    );
    const rows = this.#shownRows();
    const own = {
      version: VERSION,
      ...snapshot,
      samples: { taken: this.#taken, kept: rows.length },
      peak: this.#taken === 0 ? null : Object.fromEntries(COUNTERS.map((counter, i) => [counter, this.#peak[i]])),
    };
    const writer = await TraceWriter.open({
      ...file,
      path,
      metadata: { [MEMORY_MEMBER]: own },
      recordShapes: false,
      maxFileBytes: Number.POSITIVE_INFINITY,
      maxPendingBytes: Number.POSITIVE_INFINITY,
    });
    const source = writer.addSource(process);
    const chunk = recordCounters(rows, process);
    if (chunk !== undefined) writer.write(source, chunk);
    return writer.finish();
  }

  #halve(): void {
    const half = Math.ceil(this.#kept / 2);
    for (let row = 1; row < half; row++) {
      const from = 2 * row * this.#width;
      this.#rows.copyWithin(row * this.#width, from, from + this.#width);
    }
    this.#kept = half;
    this.#stride *= 2;
  }

  /** The samples kept, and the last one whether it was kept or not. */
  #shownRows(): Float64Array[] {
    const rows = Array.from({ length: this.#kept }, (_, row) =>
      this.#rows.subarray(row * this.#width, (row + 1) * this.#width),
    );
    if (this.#taken > 0 && (this.#taken - 1) % this.#stride !== 0) rows.push(this.#latest);
    return rows;
  }
}

function recordCounters(rows: readonly Float64Array[], process: SpanProcess) {
  let ns = 0;
  const recorder = new SpanRecorder({
    capacity: Math.max(1, rows.length * COUNTERS.length),
    thread: { tid: process.pid, name: process.name, sortIndex: 0 },
    clock: { baseNs: 0n, now: () => ns },
  });
  const [cache, requests, ...sizes] = [
    'KV cache',
    'requests',
    'resident bytes',
    'JS heap used bytes',
    'JS heap total bytes',
    'JS external bytes',
  ].map((name) => recorder.name(name)) as [number, number, ...number[]];
  recorder.start();
  for (const row of rows) {
    ns = row[0]!;
    recorder.counter(cache, 'cacheUse', row[1]!, row[2], row[3]);
    recorder.counter(requests, 'queueUse', row[4]!, row[5]);
    for (const [i, name] of sizes.entries()) recorder.counter(name, 'value', row[6 + i]!);
  }
  recorder.stop();
  return recorder.drain();
}

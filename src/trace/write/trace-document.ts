// The text of one trace file, in the order it is written: head, events, metadata events, tail. Holds no events.
// Runs on the writer's thread; usable anywhere.
import { VitrineError } from '../../util/errors.js';
import { type CpuProfile, encodeCpuProfile } from '../record/cpu-profile.js';
import { CHUNK_HEADER_BYTES, RECORD_BYTES } from '../record/span-layout.js';
import {
  NO_TABLES,
  type SourceTables,
  type SpanChunk,
  type SpanProcess,
  type SpanThread,
} from '../record/span-source.js';
import {
  type DeviceProperties,
  type DistributedInfo,
  formatMicroseconds,
  quoteJson,
  traceBaseNs,
  type VitrineMetadata,
} from '../trace-event.js';
import { EventList } from './event-list.js';
import { FlowPoints } from './flow-points.js';
import { GzipFile } from './gzip-file.js';
import { SpanEncoder } from './span-encoder.js';

export interface TraceDocumentOptions {
  /** Where the file goes; see traceFileName(). */
  readonly path: string;
  readonly deviceProperties: readonly DeviceProperties[];
  readonly distributedInfo?: DistributedInfo;
  /** More top-level keys, JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The file's own key; what is known at its end alone is added then. */
  readonly vitrine: Omit<VitrineMetadata, 'droppedRecords' | 'dropped' | 'warnings'>;
  /** Write the shapes of ops. */
  readonly recordShapes: boolean;
  /** Records that come once the compressed file has this size are dropped and counted; the file may end 1 MiB later. */
  readonly maxFileBytes: number;
  /** Points of arrows that the file may hold (24 bytes of memory each); more are dropped and counted. */
  readonly maxFlowPoints?: number;
}

export interface TraceFileInfo {
  readonly path: string;
  /** Events, metadata events included. */
  readonly events: number;
  readonly fileBytes: number;
  readonly textBytes: number;
  readonly droppedRecords: number;
}

const RESERVED = new Set([
  'schemaVersion',
  'deviceProperties',
  'distributedInfo',
  'displayTimeUnit',
  'baseTimeNanoseconds',
]);
for (const key of ['traceEvents', 'traceName', 'vitrine']) RESERVED.add(key);
const PROFILER_NAME = 'Vitrine Profiler';
/** What a point of an arrow takes in the compressed file, about: 7 measured with everyday ids, more with random ones. */
const FLOW_POINT_FILE_BYTES = 10;
/** Kineto's sort index of its span rows. */
const SPANS_SORT_INDEX = 0x2000_0000;

/** Throws VitrineError TRACE_NOT_WRITTEN from every method; the temporary file is gone then. */
export class TraceDocument {
  readonly #options: TraceDocumentOptions;
  readonly #file: GzipFile;
  readonly #monotonicToWallNs: bigint;
  readonly #baseNs: bigint;
  readonly #processes: SpanProcess[] = [];
  readonly #encoders: SpanEncoder[] = [];
  readonly #extraThreads: [number, SpanThread][] = [];
  readonly #dropped = new Map<string, number>();
  readonly #flowPoints: FlowPoints;
  readonly #events: EventList;
  readonly #emit = (text: string): void => this.#events.add(text);

  /** `giveWay` is called again and again while events are written; see low-priority.ts. */
  constructor(options: TraceDocumentOptions, giveWay?: () => void) {
    const clash = Object.keys(options.metadata).find((key) => RESERVED.has(key));
    if (clash !== undefined) {
      throw new VitrineError(
        'INVALID_REQUEST',
        `Trace metadata may not set ${JSON.stringify(clash)}: the writer does.`,
        {
          param: `metadata.${clash}`,
        },
      );
    }
    this.#options = options;
    this.#flowPoints = new FlowPoints(options.maxFlowPoints);
    this.#monotonicToWallNs = BigInt(options.vitrine.monotonicToWallNs);
    this.#baseNs = traceBaseNs(process.hrtime.bigint() + this.#monotonicToWallNs);
    this.#file = new GzipFile(options.path);
    this.#events = new EventList(this.#file.text, giveWay);
    const head: Record<string, unknown> = {
      schemaVersion: 1,
      deviceProperties: options.deviceProperties,
      ...(options.distributedInfo === undefined ? {} : { distributedInfo: options.distributedInfo }),
      ...options.metadata,
      displayTimeUnit: 'ms',
    };
    for (const [key, value] of Object.entries(head)) {
      const text = JSON.stringify(value);
      if (text !== undefined) this.#file.write(`${key === 'schemaVersion' ? '{' : ',\n'}${quoteJson(key)}:${text}`);
    }
    this.#file.write(`,\n"baseTimeNanoseconds":${this.#baseNs},\n"traceEvents":[`);
  }

  /** Of the file as it would be now, near enough: with the arrows, which are written last. */
  get fileBytes(): number {
    return this.#file.fileBytes + this.#flowPoints.length * FLOW_POINT_FILE_BYTES;
  }

  get textBytes(): number {
    return this.#file.textBytes;
  }

  /** Registers a producer, with what is known of its tables; returns its number. */
  addSource(source: SpanProcess, tables: SourceTables = NO_TABLES): number {
    this.#processes.push(source);
    this.#encoders.push(
      new SpanEncoder({
        process: source,
        monotonicToWallNs: this.#monotonicToWallNs,
        baseNs: this.#baseNs,
        recordShapes: this.#options.recordShapes,
        flowPoints: this.#flowPoints,
        tables,
      }),
    );
    return this.#encoders.length - 1;
  }

  addChunk(source: number, chunk: SpanChunk): void {
    const encoder = this.#encoders[source]!;
    if (this.fileBytes < this.#options.maxFileBytes) {
      this.drop('buffer', encoder.encode(chunk, this.#events));
      return;
    }
    this.drop('max_bytes', (chunk.records.byteLength - CHUNK_HEADER_BYTES) / RECORD_BYTES);
    // Its tables still count: later ids follow on.
    encoder.encode({ ...chunk, records: chunk.records.subarray(0, CHUNK_HEADER_BYTES) }, this.#events);
  }

  /** Sampled stacks become a track of their own: samples do not nest with the spans of their thread. */
  addCpuProfile(pid: number, thread: SpanThread, profile: CpuProfile): void {
    this.#extraThreads.push([pid, thread]);
    let leftOut = 0;
    encodeCpuProfile(profile, pid, thread.tid, Number(this.#monotonicToWallNs - this.#baseNs), (text) => {
      if (this.fileBytes < this.#options.maxFileBytes) this.#emit(text);
      else leftOut++;
    });
    this.drop('max_bytes', leftOut);
  }

  /** Counts records that never came here. */
  drop(reason: string, count: number): void {
    if (count > 0) this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + count);
  }

  /** Completes the file and gives it its name. `warnings`: what it lacks, and why. */
  finish(warnings: readonly string[] = []): TraceFileInfo {
    this.#writeArrows();
    this.#writeMetadataEvents();
    this.#writeWindow();
    const dropped = Object.fromEntries(this.#dropped);
    const droppedRecords = [...this.#dropped.values()].reduce((sum, count) => sum + count, 0);
    const vitrine: VitrineMetadata = {
      ...{ ...this.#options.vitrine, droppedRecords, dropped },
      ...(warnings.length > 0 && { warnings }),
    };
    this.#file.write(`\n],\n"vitrine":${JSON.stringify(vitrine)},\n"traceName":${quoteJson(this.#options.path)}}\n`);
    this.#file.commit();
    const { path } = this.#options;
    const { fileBytes, textBytes } = this.#file;
    return { path, events: this.#events.length, fileBytes, textBytes, droppedRecords };
  }

  discard(): void {
    this.#file.discard();
  }

  #writeArrows(): void {
    this.drop('flow_points', this.#flowPoints.dropped);
    const isFull = () => this.#file.fileBytes >= this.#options.maxFileBytes;
    this.drop('max_bytes', this.#flowPoints.emit(this.#emit, isFull));
  }

  #writeMetadataEvents(): void {
    const metadata = (pid: number | string, tid: number, name: string, key: string, value: unknown) =>
      this.#emit(
        `{"ph":"M","name":"${name}","ts":0.000,"pid":${JSON.stringify(pid)},"tid":${tid},"args":{"${key}":${
          typeof value === 'string' ? quoteJson(value) : value
        }}}`,
      );
    const threads: [number, SpanThread][] = this.#extraThreads.slice();
    const named = new Set<number>();
    this.#processes.forEach((process, index) => {
      threads.push(...this.#encoders[index]!.threads.map((thread): [number, SpanThread] => [process.pid, thread]));
      if (named.has(process.pid)) return;
      named.add(process.pid);
      metadata(process.pid, 0, 'process_name', 'name', process.name);
      metadata(process.pid, 0, 'process_labels', 'labels', process.labels ?? '');
      metadata(process.pid, 0, 'process_sort_index', 'sort_index', process.sortIndex);
    });
    const seen = new Set<string>();
    for (const [pid, thread] of threads) {
      const key = `${pid} ${thread.tid}`;
      if (seen.has(key)) continue;
      seen.add(key);
      metadata(pid, thread.tid, 'thread_name', 'name', thread.name);
      metadata(pid, thread.tid, 'thread_sort_index', 'sort_index', thread.sortIndex);
    }
    if (this.#events.length > 0) metadata('Spans', 0, 'process_sort_index', 'sort_index', SPANS_SORT_INDEX);
  }

  /** Kineto's marks of the recording's extent. */
  #writeWindow(): void {
    const first = Math.max(0, Math.min(...this.#encoders.map((encoder) => encoder.firstNs)));
    const last = Math.max(...this.#encoders.map((encoder) => encoder.lastNs));
    if (!Number.isFinite(first) || !Number.isFinite(last)) return;
    const ts = formatMicroseconds(first);
    const dur = formatMicroseconds(Math.max(last - first, 0));
    this.#emit(
      `{"ph":"X","cat":"Trace","name":"${PROFILER_NAME} (0)","pid":"Spans","tid":"${PROFILER_NAME}","ts":${ts},"dur":${dur}}`,
    );
    this.#emit(
      `{"ph":"i","s":"g","name":"Iteration Start: ${PROFILER_NAME}","pid":"Traces","tid":"Trace ${PROFILER_NAME}","ts":${ts}}`,
    );
    this.#emit(`{"ph":"i","s":"g","name":"Record Window End","pid":"","tid":"","ts":${formatMicroseconds(last)}}`);
  }
}

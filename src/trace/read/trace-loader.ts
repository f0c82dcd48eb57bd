// Reads a trace file into a SpanTable and the few other things that a summary is made of.

import { quoteJson } from '../trace-event.js';
import { MEMORY_MEMBER, NO_RANK_TRACE } from '../write/memory-snapshot.js';
import type { EventFields } from './event-fields.js';
import { scanTraceFile } from './read-trace.js';
import { SpanTable, StringTable } from './span-table.js';
import { TraceDamage, TraceScanner } from './trace-scanner.js';

const PATHS = [
  'ph',
  'cat',
  'name',
  'pid',
  'tid',
  'ts',
  'dur',
  'id',
  'args.name',
  'args.layer',
  'args.Input Dims',
  'args.step',
  'args.mode',
  'args.batch size',
  'args.correlation',
  'args.module',
  'args.op',
  'args.GB/s',
  'args.TFLOP/s',
] as const;
const field = (path: (typeof PATHS)[number]): number => PATHS.indexOf(path);
const PH = field('ph');
const CAT = field('cat');
const NAME = field('name');
const PID = field('pid');
const TID = field('tid');
const TS = field('ts');
const DUR = field('dur');
const ID = field('id');
const ARG_NAME = field('args.name');
const LAYER = field('args.layer');
const SHAPES = field('args.Input Dims');
const STEP = field('args.step');
const MODE = field('args.mode');
const BATCH_SIZE = field('args.batch size');
const CORRELATION = field('args.correlation');
const MODULE = field('args.module');
const OP = field('args.op');
const BANDWIDTH = field('args.GB/s');
const FLOPS = field('args.TFLOP/s');

/** Spans in two events, which neither we nor Kineto write. */
const HALF_SPANS = [0x42, 0x45];
/** Phases by letter. */
const PHASE = {
  complete: 0x58,
  metadata: 0x4d,
  flowStart: 0x73,
  flowEnd: 0x66,
  asyncBegin: 0x62,
  asyncEnd: 0x65,
} as const;
const STEP_NAME = /^(?:ProfilerStep#\d+|step\b.*)$/i;
const LAYER_NAME = /\blayers?[._](\d{1,4})\b/;
const MAX_LAYER = 32_767;
const REQUEST = '"request"';
const GPU_WORK: ReadonlySet<string> = new Set(['"kernel"', '"gpu_memcpy"', '"gpu_memset"']);
const CALLS: ReadonlySet<string> = new Set(['"cuda_runtime"', '"cuda_driver"']);
const MAX_MODES = 200;
/** Longer names are cut, in UTF-16 units of their JSON text. */
const MAX_TEXT = 4096;
const SHOWN_OF_LONG_TEXT = 1000;

export interface Interval {
  readonly begin: number;
  readonly end: number;
}

export interface LoadedTrack {
  readonly pid: string;
  readonly tid: string;
}

/** Work of a GPU. */
export interface GpuWork {
  readonly row: number;
  /** -1: none. */
  readonly correlation: number;
  /** Raw JSON strings; '' where the work has none. */
  readonly module: string;
  readonly op: string;
  /** What its op reached, GB/s and TFLOP/s; NaN where it does not say. */
  readonly bandwidth: number;
  readonly flops: number;
}

/** JSON texts (`raw`) are kept as they stand; decode() makes them readable. */
export interface LoadedTrace {
  readonly spans: SpanTable;
  /** Of the spans: work of GPUs, and the calls that queue it, by row. */
  readonly gpuWork: readonly GpuWork[];
  readonly calls: readonly { readonly row: number; readonly correlation: number }[];
  /** Raw JSON strings. */
  readonly names: readonly string[];
  readonly categories: readonly string[];
  readonly tracks: readonly LoadedTrack[];
  /** Index 0 is "no shapes". */
  readonly shapes: readonly string[];
  readonly modes: readonly string[];
  /** Requests of a step, by its row; without steps that do not say. */
  readonly batchSizes: ReadonlyMap<number, number>;
  readonly processNames: ReadonlyMap<string, string>;
  readonly threadNames: ReadonlyMap<string, string>;
  /** Lives of requests: their async events, and their arrows from the first point to the last. */
  readonly requests: readonly Interval[];
  readonly members: ReadonlyMap<string, string>;
  readonly events: number;
  readonly negativeDurations: number;
  readonly withoutTimes: number;
  /** Events of ph B and E. */
  readonly halfSpans: number;
  readonly flowStartsWithoutEnd: number;
  readonly flowEndsWithoutStart: number;
  readonly repairedEvents: number;
}

/** A field's JSON text, cut where it is so long that many of them would fill the memory; still JSON. */
function textOf(fields: EventFields, field: number): string {
  const raw = fields.raw(field);
  if (raw.length <= MAX_TEXT) return raw;
  return quoteJson(raw.startsWith('"') ? `${decode(raw).slice(0, SHOWN_OF_LONG_TEXT)}…` : '(too long)');
}

/** What a raw JSON text says: a string without its quotes, anything else as it stands. */
export function decode(raw: string): string {
  return raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
}

class TraceLoader {
  readonly spans = new SpanTable();
  readonly gpuWork: GpuWork[] = [];
  readonly calls: { row: number; correlation: number }[] = [];
  readonly modules = new StringTable(1 << 16);
  readonly names = new StringTable(1 << 22);
  readonly categories = new StringTable(1 << 16);
  readonly shapes = new StringTable(1 << 20);
  readonly modes = new StringTable(MAX_MODES);
  readonly batchSizes = new Map<number, number>();
  readonly tracks: LoadedTrack[] = [];
  readonly processNames = new Map<string, string>();
  readonly threadNames = new Map<string, string>();
  readonly requests: Interval[] = [];
  readonly members = new Map<string, string>();
  negativeDurations = 0;
  withoutTimes = 0;
  halfSpans = 0;
  readonly #trackIds = new Map<string, number>();
  /** By name: the layer it says, and whether it is a step's. */
  readonly #layerOfName: number[] = [];
  readonly #isStepName: boolean[] = [];
  /** Arrows of which one end has been seen: start 1, end 2. */
  readonly #flows = new Map<string, number>();
  readonly #openRequests = new Map<string, { ts: number; phase: number }>();

  constructor() {
    this.shapes.id('');
  }

  /** One of the flows' halves that stayed alone. */
  loneFlows(half: 1 | 2): number {
    let count = 0;
    for (const seen of this.#flows.values()) if (seen === half) count++;
    return count;
  }

  take(fields: EventFields): void {
    const phase = fields.byteAt(PH, 1);
    if (HALF_SPANS.includes(phase)) this.halfSpans++;
    switch (phase) {
      case PHASE.complete:
        this.#takeSpan(fields);
        break;
      case PHASE.metadata:
        this.#takeMetadata(fields);
        break;
      case PHASE.flowStart:
        this.#takeFlow(fields, 1);
        break;
      case PHASE.flowEnd:
        this.#takeFlow(fields, 2);
        break;
      case PHASE.asyncBegin:
      case PHASE.asyncEnd:
        this.#takeAsync(fields);
    }
  }

  #takeSpan(fields: EventFields): void {
    const begin = fields.nanoseconds(TS);
    const duration = fields.nanoseconds(DUR);
    if (Number.isNaN(begin) || Number.isNaN(duration)) {
      this.withoutTimes++;
      return;
    }
    if (duration < 0) {
      this.negativeDurations++;
      return;
    }
    const { spans } = this;
    const row = spans.add(begin, duration);
    const name = this.#name(textOf(fields, NAME));
    const categoryText = textOf(fields, CAT);
    const category = this.categories.id(categoryText);
    if (GPU_WORK.has(categoryText)) this.#takeGpuWork(row, fields);
    else if (CALLS.has(categoryText)) this.calls.push({ row, correlation: fields.plainInteger(CORRELATION) });
    spans.name[row] = name;
    spans.category[row] = category;
    spans.track[row] = this.#track(fields);
    if (fields.has(SHAPES)) spans.shape[row] = this.shapes.id(textOf(fields, SHAPES));
    const layer = fields.has(LAYER) ? fields.plainInteger(LAYER) : this.#layerOfName[name]!;
    if (layer >= 0 && layer <= MAX_LAYER) spans.layer[row] = layer;
    const annotation = this.categories.values[category] === '"user_annotation"';
    if (!annotation || !(fields.has(STEP) || this.#isStepName[name])) return;
    spans.step[row] = 1 + this.modes.id(textOf(fields, MODE));
    if (fields.has(BATCH_SIZE)) this.batchSizes.set(row, fields.plainInteger(BATCH_SIZE));
  }

  #takeGpuWork(row: number, fields: EventFields): void {
    // One string for all work of a module.
    const shared = (field: number) => this.modules.values[this.modules.id(textOf(fields, field))]!;
    const number = (field: number) => (fields.has(field) ? Number(fields.raw(field)) : Number.NaN);
    this.gpuWork.push({
      ...{ row, correlation: fields.plainInteger(CORRELATION), module: shared(MODULE), op: shared(OP) },
      ...{ bandwidth: number(BANDWIDTH), flops: number(FLOPS) },
    });
  }

  #takeMetadata(fields: EventFields): void {
    const name = textOf(fields, NAME);
    if (name === '"process_name"') this.processNames.set(textOf(fields, PID), textOf(fields, ARG_NAME));
    else if (name === '"thread_name"')
      this.threadNames.set(`${textOf(fields, PID)} ${textOf(fields, TID)}`, textOf(fields, ARG_NAME));
  }

  #takeFlow(fields: EventFields, half: 1 | 2): void {
    const key = `${textOf(fields, CAT)} ${textOf(fields, NAME)} ${textOf(fields, ID)}`;
    const seen = this.#flows.get(key);
    if (seen === undefined) this.#flows.set(key, half);
    else if (seen !== half) this.#flows.delete(key);
    if (textOf(fields, CAT) === REQUEST) this.#takeRequest(`flow ${key}`, fields);
  }

  #takeAsync(fields: EventFields): void {
    if (textOf(fields, CAT) !== REQUEST) return;
    this.#takeRequest(`async ${textOf(fields, PID)} ${textOf(fields, NAME)} ${textOf(fields, ID)}`, fields);
  }

  /** One end of a request's life; the other one may come before or after. */
  #takeRequest(key: string, fields: EventFields): void {
    const ts = fields.nanoseconds(TS);
    const phase = fields.byteAt(PH, 1);
    const other = this.#openRequests.get(key);
    if (other === undefined || other.phase === phase) {
      this.#openRequests.set(key, { ts, phase });
      return;
    }
    this.#openRequests.delete(key);
    this.requests.push({ begin: Math.min(ts, other.ts), end: Math.max(ts, other.ts) });
  }

  #name(raw: string): number {
    const id = this.names.id(raw);
    if (this.#layerOfName[id] === undefined) {
      const text = raw === '' ? '' : decode(raw);
      this.#layerOfName[id] = Number(LAYER_NAME.exec(text)?.[1] ?? -1);
      this.#isStepName[id] = STEP_NAME.test(text);
    }
    return id;
  }

  #track(fields: EventFields): number {
    const pid = textOf(fields, PID);
    const tid = textOf(fields, TID);
    const key = `${pid} ${tid}`;
    let id = this.#trackIds.get(key);
    if (id === undefined) {
      id = this.tracks.length;
      this.tracks.push({ pid, tid });
      this.#trackIds.set(key, id);
    }
    return id;
  }
}

/**
 * Rejects with TraceDamage where the file is no whole trace. Memory: 32 bytes a span, 100 more of a GPU's, and the distinct
 * strings.
 */
export async function loadTrace(path: string, signal?: AbortSignal): Promise<LoadedTrace> {
  const loader = new TraceLoader();
  const handler = {
    event: (fields: EventFields) => loader.take(fields),
    member: (key: string, text: string) => void loader.members.set(key, text),
  };
  const scanner = new TraceScanner(handler, PATHS);
  await scanTraceFile(path, scanner, signal);
  if (loader.members.has(MEMORY_MEMBER)) throw new TraceDamage(NO_RANK_TRACE);
  const { spans, tracks, batchSizes, processNames, threadNames, requests, members } = loader;
  const { negativeDurations, withoutTimes } = loader;
  return {
    spans,
    gpuWork: loader.gpuWork,
    calls: loader.calls,
    names: loader.names.values,
    categories: loader.categories.values,
    tracks,
    shapes: loader.shapes.values,
    modes: loader.modes.values,
    batchSizes,
    processNames,
    threadNames,
    requests,
    members,
    events: scanner.events,
    negativeDurations,
    withoutTimes,
    halfSpans: loader.halfSpans,
    flowStartsWithoutEnd: loader.loneFlows(1),
    flowEndsWithoutStart: loader.loneFlows(2),
    repairedEvents: scanner.repaired,
  };
}

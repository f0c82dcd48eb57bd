// Turns span records into the text of trace events. Holds the name and thread tables of one source; runs on the
// writer's thread.
import { VitrineError } from '../util/errors.js';
import type { FlowPoints } from './flow-points.js';
import {
  type ArgumentField,
  CHUNK_HEADER,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  RECORD_BYTES,
  RECORD_KIND,
  RECORD_OFFSET,
  SPAN_CATEGORIES,
  SPAN_LAYOUT_VERSION,
  SPAN_SCHEMAS,
} from './span-layout.js';
import type { SourceTables, SpanChunk, SpanProcess, SpanThread } from './span-source.js';
import { formatMicroseconds, quoteJson } from './trace-event.js';

const TWO_32 = 4_294_967_296;
const CATEGORIES = Object.values(SPAN_CATEGORIES).map((spec) => ({
  cat: quoteJson(spec.name),
  idArgument: quoteJson(spec.idArgument),
}));
const SCHEMAS = Object.values<readonly ArgumentField[]>(SPAN_SCHEMAS).map((fields) =>
  fields.map((spec) => ({ ...spec, key: quoteJson(spec.name), quotedChoices: spec.choices?.map(quoteJson) ?? [] })),
);
const FLOW_PHASE: Record<number, string> = {
  [RECORD_KIND.flowStart]: 's',
  [RECORD_KIND.flowStep]: 't',
  [RECORD_KIND.flowEnd]: 'f',
};

export interface SpanEncoderOptions {
  readonly process: SpanProcess;
  /** Wall clock minus CLOCK_MONOTONIC. */
  readonly monotonicToWallNs: bigint;
  /** `baseTimeNanoseconds` of the file. */
  readonly baseNs: bigint;
  readonly recordShapes: boolean;
  /** Takes the points whose place in their arrow is not known yet. */
  readonly flowPoints: FlowPoints;
  readonly tables: SourceTables;
}

/** Takes one event's text, without a separator. */
export type EventSink = (text: string) => void;

export class SpanEncoder {
  readonly threads: SpanThread[] = [];
  /** Earliest begin and latest end seen, ns after the file's base. */
  firstNs = Number.POSITIVE_INFINITY;
  lastNs = Number.NEGATIVE_INFINITY;
  readonly #names: string[] = [];
  readonly #options: SpanEncoderOptions;
  /** Numbers in `flowPoints`, by category and name, and by thread. */
  readonly #flowKinds = new Map<number, number>();
  readonly #flowTracks: number[] = [];

  constructor(options: SpanEncoderOptions) {
    this.#options = options;
    this.#addTables(options.tables);
  }

  /**
   * Emits the events of a chunk; returns how many records its producer dropped before it.
   * A malformed chunk throws VitrineError INTERNAL: its producer is at fault.
   */
  encode(chunk: SpanChunk, emit: EventSink): number {
    this.#addTables(chunk);
    const { buffer, byteOffset, byteLength } = chunk.records;
    const view = new DataView(buffer, byteOffset, byteLength);
    const end = view.byteLength;
    if (
      end < CHUNK_HEADER_BYTES ||
      (end - CHUNK_HEADER_BYTES) % RECORD_BYTES !== 0 ||
      view.getUint32(CHUNK_HEADER.magic, true) !== CHUNK_MAGIC ||
      view.getUint32(CHUNK_HEADER.version, true) !== SPAN_LAYOUT_VERSION
    ) {
      throw new VitrineError(
        'INTERNAL',
        `A span chunk of ${end} bytes is not in layout version ${SPAN_LAYOUT_VERSION}.`,
      );
    }
    const { monotonicToWallNs, baseNs } = this.#options;
    // A quarter at most, so well below 2^53; negative only for records older than the file's base.
    const shift = Number(view.getBigInt64(CHUNK_HEADER.baseNs, true) + monotonicToWallNs - baseNs);
    let at = CHUNK_HEADER_BYTES;
    while (at < end) {
      let next = at + RECORD_BYTES;
      while (next < end && view.getUint8(next) === RECORD_KIND.more) next += RECORD_BYTES;
      this.#encodeRecord(view, at, next, shift, emit);
      at = next;
    }
    return view.getUint32(CHUNK_HEADER.dropped, true);
  }

  #addTables({ names, threads }: SourceTables): void {
    for (const name of names) this.#names.push(quoteJson(name));
    for (const thread of threads) this.threads.push(thread);
  }

  /** The record at `at` with the `more` records that follow it up to `end`. */
  #encodeRecord(view: DataView, at: number, end: number, shift: number, emit: EventSink): void {
    const kind = view.getUint8(at + RECORD_OFFSET.kind);
    const category = CATEGORIES[view.getUint8(at + RECORD_OFFSET.category)];
    const thread = this.threads[view.getUint16(at + RECORD_OFFSET.thread, true)];
    const name = this.#name(view.getUint32(at + RECORD_OFFSET.name, true));
    if (kind < RECORD_KIND.span || kind > RECORD_KIND.flowPoint || kind === RECORD_KIND.more || !category || !thread) {
      throw new VitrineError('INTERNAL', `Span record at byte ${at}: unknown kind ${kind}, category or thread.`);
    }
    const begin = this.#time(view, at + RECORD_OFFSET.begin) + shift;
    const finish = this.#time(view, at + RECORD_OFFSET.end) + shift;
    const spans = kind === RECORD_KIND.span || kind === RECORD_KIND.async;
    if (begin < this.firstNs) this.firstNs = begin;
    if ((spans ? finish : begin) > this.lastNs) this.lastNs = spans ? finish : begin;

    if (kind === RECORD_KIND.flowPoint) {
      this.#addFlowPoint(view, at, begin);
      return;
    }
    const where = `,"name":${name},"pid":${this.#options.process.pid},"tid":${thread.tid},"ts":`;
    const head = `{"ph":"`;
    const cat = `","cat":${category.cat}${where}`;
    const ts = formatMicroseconds(Math.max(begin, 0));
    if (kind === RECORD_KIND.span) {
      const dur = formatMicroseconds(Math.max(finish - begin, 0));
      emit(`${head}X${cat}${ts},"dur":${dur}${this.#args(view, at, end, category.idArgument)}}`);
    } else if (kind === RECORD_KIND.instant) {
      emit(`${head}i${cat}${ts},"s":"t"${this.#args(view, at, end, category.idArgument)}}`);
    } else if (kind === RECORD_KIND.counter) {
      emit(`${head}C${cat}${ts}${this.#args(view, at, end, category.idArgument)}}`);
    } else if (kind === RECORD_KIND.async) {
      const id = this.#id(view, at);
      emit(`${head}b${cat}${ts},"id":${id}${this.#args(view, at, end, '')}}`);
      emit(`${head}e${cat}${formatMicroseconds(Math.max(finish, 0))},"id":${id}}`);
    } else {
      const binding = kind === RECORD_KIND.flowEnd ? ',"bp":"e"' : '';
      emit(`${head}${FLOW_PHASE[kind]}${cat}${ts},"id":${this.#id(view, at)}${binding}}`);
    }
  }

  #addFlowPoint(view: DataView, at: number, ns: number): void {
    const { flowPoints, process } = this.#options;
    const category = view.getUint8(at + RECORD_OFFSET.category);
    const thread = view.getUint16(at + RECORD_OFFSET.thread, true);
    const name = view.getUint32(at + RECORD_OFFSET.name, true);
    const key = category * TWO_32 + name;
    let kind = this.#flowKinds.get(key);
    if (kind === undefined) {
      kind = flowPoints.kind(CATEGORIES[category]!.cat, this.#name(name));
      this.#flowKinds.set(key, kind);
    }
    this.#flowTracks[thread] ??= flowPoints.track(process.pid, this.threads[thread]!.tid);
    const id = at + RECORD_OFFSET.id;
    flowPoints.add(kind, this.#flowTracks[thread]!, view.getUint32(id, true), view.getUint32(id + 4, true), ns);
  }

  /** A name that never came is not worth losing the trace over. */
  #name(id: number): string {
    return this.#names[id] ?? `"(unknown name ${id})"`;
  }

  #time(view: DataView, at: number): number {
    return view.getInt32(at + 4, true) * TWO_32 + view.getUint32(at, true);
  }

  #id(view: DataView, at: number): string {
    return view.getBigUint64(at + RECORD_OFFSET.id, true).toString();
  }

  #args(view: DataView, at: number, end: number, idArgument: string): string {
    const args: string[] = [];
    if (idArgument !== '') {
      const id = this.#id(view, at);
      if (id !== '0') args.push(`${idArgument}:${id}`);
    }
    const layer = view.getInt16(at + RECORD_OFFSET.layer, true);
    if (layer >= 0) args.push(`"layer":${layer}`);
    for (let record = at; record < end; record += RECORD_BYTES) {
      this.#schemaArgs(view, record, view.getUint16(record + RECORD_OFFSET.schema, true), args);
    }
    return args.length === 0 ? '' : `,"args":{${args.join(',')}}`;
  }

  #schemaArgs(view: DataView, record: number, schema: number, args: string[]): void {
    const fields = SCHEMAS[schema];
    if (fields === undefined)
      throw new VitrineError('INTERNAL', `Span record at byte ${record}: unknown schema ${schema}.`);
    let at = record + RECORD_OFFSET.args;
    let shapes = '';
    for (const spec of fields) {
      switch (spec.type) {
        case 'i32':
          args.push(`${spec.key}:${view.getInt32(at, true)}`);
          break;
        case 'u32':
          args.push(`${spec.key}:${view.getUint32(at, true)}`);
          break;
        case 'f32':
          args.push(`${spec.key}:${finite(view.getFloat32(at, true))}`);
          break;
        case 'name':
          args.push(`${spec.key}:${this.#name(view.getUint32(at, true))}`);
          break;
        case 'choice':
          args.push(`${spec.key}:${spec.quotedChoices[view.getUint32(at, true)] ?? view.getUint32(at, true)}`);
          break;
        case 'i64':
          args.push(`${spec.key}:${view.getBigInt64(at, true)}`);
          at += 4;
          break;
        case 'f64':
          args.push(`${spec.key}:${finite(view.getFloat64(at, true))}`);
          at += 4;
          break;
        case 'dims': {
          const size = spec.size ?? 1;
          const shape: number[] = [];
          for (let i = 0; i < size; i++) shape.push(view.getInt32(at + 4 * i, true));
          if (spec.name === 'Input Dims') shapes += `${shapes === '' ? '' : ','}[${shape}]`;
          else args.push(`${spec.key}:[${shape}]`);
          at += 4 * (size - 1);
        }
      }
      at += 4;
    }
    if (shapes !== '' && this.#options.recordShapes) args.push(`"Input Dims":[${shapes}]`);
  }
}

/** JSON has no NaN and no infinity. */
function finite(value: number): string {
  return Number.isFinite(value) ? String(value) : JSON.stringify(String(value));
}

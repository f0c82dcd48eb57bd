// Turns span records into the text of trace events, without garbage: millions of records a second pass through here.
// Holds the name and thread tables of one source; runs on the writer's thread.
import { VitrineError } from '../../util/errors.js';
import {
  type ArgumentField,
  CHUNK_HEADER,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  fieldWords,
  RECORD_BYTES,
  RECORD_KIND,
  RECORD_OFFSET,
  RECORD_WORDS,
  SPAN_CATEGORIES,
  SPAN_LAYOUT_VERSION,
  SPAN_SCHEMAS,
} from '../record/span-layout.js';
import type { SourceTables, SpanChunk, SpanProcess, SpanThread } from '../record/span-source.js';
import { quoteJson } from '../trace-event.js';
import type { EventList } from './event-list.js';
import type { FlowPoints } from './flow-points.js';
import { decodeText, encodeText, type TextBuffer, type TextFragment } from './text-buffer.js';

const TWO_32 = 4_294_967_296;
/** Words of a record. The first holds kind, category and thread, the one of `schema` schema and layer. */
const WORD = {
  name: RECORD_OFFSET.name / 4,
  begin: RECORD_OFFSET.begin / 4,
  end: RECORD_OFFSET.end / 4,
  id: RECORD_OFFSET.id / 4,
  schema: RECORD_OFFSET.schema / 4,
  args: RECORD_OFFSET.args / 4,
} as const;
/** More would show what a float32 lacks of a decimal number. */
const FLOAT32_DIGITS = 6;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const CLOSE = encodeText('}');
const CLOSE_WITH_ARGS = encodeText('}}');
const DURATION = encodeText(',"dur":');
const ID = encodeText(',"id":');
const END_BINDING = encodeText(',"bp":"e"');
const THREAD_SCOPE = encodeText(',"s":"t"');

/** A key of `args`, as it stands first and after others. */
interface ArgumentKey {
  readonly first: TextFragment;
  readonly next: TextFragment;
}

function argumentKey(name: string): ArgumentKey {
  return { first: encodeText(`,"args":{${quoteJson(name)}:`), next: encodeText(`,${quoteJson(name)}:`) };
}

/** A field of a schema, or all the tensor shapes of one. */
interface EncodedField extends ArgumentKey {
  readonly type: ArgumentField['type'] | 'shapes';
  readonly word: number;
  readonly size: number;
  readonly choices: readonly TextFragment[];
  readonly shapes: readonly { readonly word: number; readonly size: number }[];
}

const SHAPES = 'Input Dims';

/** In the order of the text, in which shapes come last. */
function encodedFields(fields: readonly ArgumentField[], recordShapes: boolean): readonly EncodedField[] {
  const encoded: EncodedField[] = [];
  const shapes: EncodedField['shapes'][number][] = [];
  let word: number = WORD.args;
  for (const spec of fields) {
    const { type, size = 1 } = spec;
    const choices = spec.choices?.map((choice) => encodeText(quoteJson(choice))) ?? [];
    if (type === 'dims' && spec.name === SHAPES) shapes.push({ word, size });
    else encoded.push({ ...argumentKey(spec.name), type, word, size, choices, shapes: [] });
    word += fieldWords(spec);
  }
  if (shapes.length > 0 && recordShapes) {
    encoded.push({ ...argumentKey(SHAPES), type: 'shapes', word: 0, size: 0, choices: [], shapes });
  }
  return encoded;
}

const encodedSchemas = (recordShapes: boolean) =>
  Object.values<readonly ArgumentField[]>(SPAN_SCHEMAS).map((fields) => encodedFields(fields, recordShapes));
const SCHEMAS = encodedSchemas(true);
const SCHEMAS_WITHOUT_SHAPES = encodedSchemas(false);
const LAYER = argumentKey('layer');

/** How the events of a category begin: `{"ph":…,"cat":…,"name":`. */
function heads(category: string) {
  const head = (phase: string) => encodeText(`{"ph":"${phase}","cat":${quoteJson(category)},"name":`);
  return {
    span: head('X'),
    instant: head('i'),
    counter: head('C'),
    asyncBegin: head('b'),
    asyncEnd: head('e'),
    flowStart: head('s'),
    flowStep: head('t'),
    flowEnd: head('f'),
  };
}
const CATEGORIES = Object.values(SPAN_CATEGORIES).map((spec) => ({
  quoted: quoteJson(spec.name),
  idKey: argumentKey(spec.idArgument),
  heads: heads(spec.name),
}));

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

export class SpanEncoder {
  readonly threads: SpanThread[] = [];
  /** Earliest begin and latest end seen, ns after the file's base. */
  firstNs = Number.POSITIVE_INFINITY;
  lastNs = Number.NEGATIVE_INFINITY;
  readonly #options: SpanEncoderOptions;
  readonly #schemas: readonly (readonly EncodedField[])[];
  /** JSON strings. */
  readonly #names: TextFragment[] = [];
  /** `,"pid":…,"tid":…,"ts":` of each thread. */
  readonly #tracks: TextFragment[] = [];
  /** Numbers in `flowPoints`, by category and name, and by thread. */
  readonly #flowKinds = new Map<number, number>();
  readonly #flowTracks: number[] = [];
  /** Two words and the numbers that they are. */
  readonly #pair = new Int32Array(2);
  readonly #float64 = new Float64Array(this.#pair.buffer);
  readonly #float32 = new Float32Array(this.#pair.buffer);

  /** The chunk being encoded, as words (of this machine, little-endian as the layout), and what its times lack. */
  #words: Int32Array = new Int32Array(0);
  #shiftNs = 0;
  /** The event being written has an argument. */
  #hasArgs = false;

  constructor(options: SpanEncoderOptions) {
    this.#options = options;
    this.#schemas = options.recordShapes ? SCHEMAS : SCHEMAS_WITHOUT_SHAPES;
    this.#addTables(options.tables);
  }

  /**
   * Writes the events of a chunk; returns how many records its producer dropped before it.
   * A malformed chunk throws VitrineError INTERNAL: its producer is at fault.
   */
  encode(chunk: SpanChunk, events: EventList): number {
    this.#addTables(chunk);
    const { buffer, byteOffset, byteLength } = chunk.records;
    const view = new DataView(buffer, byteOffset, byteLength);
    if (
      byteLength < CHUNK_HEADER_BYTES ||
      (byteLength - CHUNK_HEADER_BYTES) % RECORD_BYTES !== 0 ||
      view.getUint32(CHUNK_HEADER.magic, true) !== CHUNK_MAGIC ||
      view.getUint32(CHUNK_HEADER.version, true) !== SPAN_LAYOUT_VERSION
    ) {
      throw new VitrineError(
        'INTERNAL',
        `A span chunk of ${byteLength} bytes is not in layout version ${SPAN_LAYOUT_VERSION}.`,
      );
    }
    const { monotonicToWallNs, baseNs } = this.#options;
    // A quarter at most, so well below 2^53; negative only for records older than the file's base.
    this.#shiftNs = Number(view.getBigInt64(CHUNK_HEADER.baseNs, true) + monotonicToWallNs - baseNs);
    const isAligned = byteOffset % Int32Array.BYTES_PER_ELEMENT === 0;
    this.#words = isAligned
      ? new Int32Array(buffer, byteOffset, byteLength / Int32Array.BYTES_PER_ELEMENT)
      : new Int32Array(Uint8Array.from(chunk.records).buffer);
    const words = this.#words;
    for (let at = CHUNK_HEADER_BYTES / Int32Array.BYTES_PER_ELEMENT; at < words.length; ) {
      let next = at + RECORD_WORDS;
      while (next < words.length && (words[next]! & 0xff) === RECORD_KIND.more) next += RECORD_WORDS;
      this.#encodeRecord(at, next, events);
      at = next;
    }
    return view.getUint32(CHUNK_HEADER.dropped, true);
  }

  #addTables({ names, threads }: SourceTables): void {
    const { pid } = this.#options.process;
    for (const name of names) this.#names.push(encodeText(quoteJson(name)));
    for (const thread of threads) {
      this.threads.push(thread);
      this.#tracks.push(encodeText(`,"pid":${pid},"tid":${thread.tid},"ts":`));
    }
  }

  /** The record at `at` with the `more` records that follow it up to `end`. */
  #encodeRecord(at: number, end: number, events: EventList): void {
    const words = this.#words;
    const what = words[at]!;
    const kind = what & 0xff;
    const category = CATEGORIES[(what >>> 8) & 0xff];
    const track = this.#tracks[what >>> 16];
    if (kind < RECORD_KIND.span || kind > RECORD_KIND.flowPoint || kind === RECORD_KIND.more || !category || !track) {
      throw new VitrineError('INTERNAL', `Span record at byte ${4 * at}: unknown kind ${kind}, category or thread.`);
    }
    const begin = words[at + WORD.begin + 1]! * TWO_32 + (words[at + WORD.begin]! >>> 0) + this.#shiftNs;
    const finish = words[at + WORD.end + 1]! * TWO_32 + (words[at + WORD.end]! >>> 0) + this.#shiftNs;
    const last = kind === RECORD_KIND.span || kind === RECORD_KIND.async ? finish : begin;
    if (begin < this.firstNs) this.firstNs = begin;
    if (last > this.lastNs) this.lastNs = last;
    if (kind === RECORD_KIND.flowPoint) {
      this.#addFlowPoint(at, begin);
      return;
    }
    this.#checkSchemas(at, end);

    const text = events.begin();
    const { heads } = category;
    const ts = Math.max(begin, 0);
    switch (kind) {
      case RECORD_KIND.span:
        this.#putHead(text, heads.span, at, track);
        text.microseconds(ts);
        text.fragment(DURATION);
        text.microseconds(Math.max(finish - begin, 0));
        this.#putArgs(text, at, end, category.idKey);
        break;
      case RECORD_KIND.instant:
        this.#putHead(text, heads.instant, at, track);
        text.microseconds(ts);
        text.fragment(THREAD_SCOPE);
        this.#putArgs(text, at, end, category.idKey);
        break;
      case RECORD_KIND.counter:
        this.#putHead(text, heads.counter, at, track);
        text.microseconds(ts);
        this.#putArgs(text, at, end, category.idKey);
        break;
      case RECORD_KIND.async:
        this.#putHead(text, heads.asyncBegin, at, track);
        text.microseconds(ts);
        this.#putId(text, at);
        this.#putArgs(text, at, end);
        events.begin();
        this.#putHead(text, heads.asyncEnd, at, track);
        text.microseconds(Math.max(finish, 0));
        this.#putId(text, at);
        text.fragment(CLOSE);
        break;
      default: {
        const isEnd = kind === RECORD_KIND.flowEnd;
        const isStart = kind === RECORD_KIND.flowStart;
        this.#putHead(text, isStart ? heads.flowStart : isEnd ? heads.flowEnd : heads.flowStep, at, track);
        text.microseconds(ts);
        this.#putId(text, at);
        if (isEnd) text.fragment(END_BINDING);
        text.fragment(CLOSE);
      }
    }
  }

  #addFlowPoint(at: number, ns: number): void {
    const { flowPoints, process } = this.#options;
    const words = this.#words;
    const category = (words[at]! >>> 8) & 0xff;
    const thread = words[at]! >>> 16;
    const name = words[at + WORD.name]! >>> 0;
    const key = category * TWO_32 + name;
    let kind = this.#flowKinds.get(key);
    if (kind === undefined) {
      kind = flowPoints.kind(CATEGORIES[category]!.quoted, decodeText(this.#name(name)));
      this.#flowKinds.set(key, kind);
    }
    this.#flowTracks[thread] ??= flowPoints.track(process.pid, this.threads[thread]!.tid);
    flowPoints.add(kind, this.#flowTracks[thread]!, words[at + WORD.id]!, words[at + WORD.id + 1]!, ns);
  }

  /** A name that never came is not worth losing the trace over. */
  #name(id: number): TextFragment {
    return this.#names[id] ?? encodeText(`"(unknown name ${id})"`);
  }

  /** Before anything is written, so that no event is left half. */
  #checkSchemas(from: number, end: number): void {
    for (let at = from; at < end; at += RECORD_WORDS) {
      const schema = this.#words[at + WORD.schema]! & 0xffff;
      if (schema >= this.#schemas.length) {
        throw new VitrineError('INTERNAL', `Span record at byte ${4 * at}: unknown schema ${schema}.`);
      }
    }
  }

  /** From the beginning of an event to where its time belongs. */
  #putHead(text: TextBuffer, head: TextFragment, at: number, track: TextFragment): void {
    text.fragment(head);
    text.fragment(this.#name(this.#words[at + WORD.name]! >>> 0));
    text.fragment(track);
  }

  #putId(text: TextBuffer, at: number): void {
    text.fragment(ID);
    text.uint64(this.#words[at + WORD.id]!, this.#words[at + WORD.id + 1]!);
  }

  /** The arguments, if any, and the event's end. */
  #putArgs(text: TextBuffer, from: number, end: number, idKey?: ArgumentKey): void {
    const words = this.#words;
    this.#hasArgs = false;
    const idLow = words[from + WORD.id]!;
    const idHigh = words[from + WORD.id + 1]!;
    if (idKey !== undefined && (idLow !== 0 || idHigh !== 0)) {
      this.#putKey(text, idKey);
      text.uint64(idLow, idHigh);
    }
    const layer = words[from + WORD.schema]! >> 16;
    if (layer >= 0) {
      this.#putKey(text, LAYER);
      text.integer(layer);
    }
    for (let at = from; at < end; at += RECORD_WORDS) {
      const fields = this.#schemas[words[at + WORD.schema]! & 0xffff]!;
      for (let i = 0; i < fields.length; i++) {
        const field = fields[i]!;
        this.#putKey(text, field);
        this.#putValue(text, field, at);
      }
    }
    text.fragment(this.#hasArgs ? CLOSE_WITH_ARGS : CLOSE);
  }

  #putKey(text: TextBuffer, key: ArgumentKey): void {
    text.fragment(this.#hasArgs ? key.next : key.first);
    this.#hasArgs = true;
  }

  /** `at`: the record. */
  #putValue(text: TextBuffer, field: EncodedField, at: number): void {
    const words = this.#words;
    const word = words[at + field.word]!;
    switch (field.type) {
      case 'i32':
        text.integer(word);
        break;
      case 'u32':
        text.integer(word >>> 0);
        break;
      case 'f32':
        this.#pair[0] = word;
        text.number(Number(this.#float32[0]!.toPrecision(FLOAT32_DIGITS)));
        break;
      case 'name':
        text.fragment(this.#name(word >>> 0));
        break;
      case 'choice': {
        const choice = field.choices[word];
        if (choice === undefined) text.integer(word >>> 0);
        else text.fragment(choice);
        break;
      }
      case 'i64':
        text.int64(word, words[at + field.word + 1]!);
        break;
      case 'f64':
        this.#pair[0] = word;
        this.#pair[1] = words[at + field.word + 1]!;
        text.number(this.#float64[0]!);
        break;
      case 'dims':
        this.#putList(text, at + field.word, field.size);
        break;
      case 'shapes':
        text.byte(OPEN_LIST);
        for (let i = 0; i < field.shapes.length; i++) {
          const { word, size } = field.shapes[i]!;
          if (i > 0) text.byte(COMMA);
          this.#putList(text, at + word, size);
        }
        text.byte(CLOSE_LIST);
    }
  }

  #putList(text: TextBuffer, from: number, size: number): void {
    text.byte(OPEN_LIST);
    for (let i = 0; i < size; i++) {
      if (i > 0) text.byte(COMMA);
      text.integer(this.#words[from + i]!);
    }
    text.byte(CLOSE_LIST);
  }
}

// Records the spans of one JavaScript thread into a ring of fixed size: no allocation and well below a microsecond a
// span. Spans opened with begin() nest by construction; work that crosses an await is recorded with async().
import { invariant } from '../../util/errors.js';
import { SpanClock } from '../trace-clock.js';
import { NameTable } from './name-table.js';
import {
  type ArgumentField,
  CATEGORY_ID,
  CHUNK_HEADER,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  fieldValues,
  fieldWords,
  RECORD_BYTES,
  RECORD_KIND,
  RECORD_WORDS,
  SCHEMA_ID,
  SPAN_LAYOUT_VERSION,
  SPAN_SCHEMAS,
  type SpanCategory,
  type SpanSchema,
} from './span-layout.js';
import type { SpanChunk, SpanThread } from './span-source.js';

const TWO_32 = 4_294_967_296;
const MAX_DEPTH = 64;
/** Schema in the lower half, layer in the upper one. */
const SCHEMA_WORD = 8;
const ARGS_WORD = 9;
/** Encodings of one value: what #writeArgs does with it. */
const ENCODE = { word: 0, float32: 1, int64: 2, float64: 3 } as const;
const FLOW_KIND = { start: RECORD_KIND.flowStart, step: RECORD_KIND.flowStep, end: RECORD_KIND.flowEnd } as const;

function encodingOf(spec: ArgumentField): number {
  if (spec.type === 'f32') return ENCODE.float32;
  if (spec.type === 'i64') return ENCODE.int64;
  return spec.type === 'f64' ? ENCODE.float64 : ENCODE.word;
}

/** How the values of a schema become argument words. */
interface SchemaWords {
  /** One for each value. */
  readonly encodings: Uint8Array;
  /** Every value is a word. */
  readonly plain: boolean;
  /** Words that all of them take. */
  readonly words: number;
}

function schemaWords(fields: readonly ArgumentField[]): SchemaWords {
  const encodings = fields.flatMap((spec) => new Array<number>(fieldValues(spec)).fill(encodingOf(spec)));
  return {
    encodings: Uint8Array.from(encodings),
    plain: encodings.every((encoding) => encoding === ENCODE.word),
    words: fields.reduce((sum, spec) => sum + fieldWords(spec), 0),
  };
}

export interface SpanRecorderOptions {
  /** Records the ring holds; later ones are dropped and counted until it is drained. */
  readonly capacity: number;
  /** The track of begin() and end(); its index is 0. */
  readonly thread: SpanThread;
  readonly clock?: Pick<SpanClock, 'baseNs' | 'now'>;
}

/**
 * Up to seven argument values follow a schema, one per field in the order of SPAN_SCHEMAS (a dims field takes one per
 * dimension). Ids and 64-bit values are exact up to 2^53.
 */
export class SpanRecorder {
  readonly #clock: Pick<SpanClock, 'baseNs' | 'now'>;
  readonly #capacity: number;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #schemas: readonly SchemaWords[];
  readonly #scratch = new DataView(new ArrayBuffer(8));
  readonly #names = new NameTable();
  readonly #threads: SpanThread[];
  #threadsTaken = 0;

  /** Ring position of the oldest record and number of records. */
  #head = 0;
  #count = 0;
  #dropped = 0;
  #droppedTotal = 0;
  #enabled = false;

  /** Open spans; a begin of -1 was opened while nothing was recorded and leaves no record. */
  #depth = 0;
  #lastNs = 0;
  readonly #openBegin = new Float64Array(MAX_DEPTH);
  /** kind, category and name words, schema and layer, arguments: a record without its times. */
  readonly #open = new Uint32Array(MAX_DEPTH * RECORD_WORDS);

  constructor(options: SpanRecorderOptions) {
    invariant(
      Number.isInteger(options.capacity) && options.capacity > 0,
      `capacity ${options.capacity} is not positive`,
    );
    this.#clock = options.clock ?? new SpanClock();
    this.#capacity = options.capacity;
    const ring = new ArrayBuffer(options.capacity * RECORD_BYTES);
    this.#words = new Uint32Array(ring);
    this.#bytes = new Uint8Array(ring);
    this.#threads = [options.thread];
    this.#schemas = Object.values<readonly ArgumentField[]>(SPAN_SCHEMAS).map(schemaWords);
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Records waiting for drain(). */
  get pending(): number {
    return this.#count;
  }

  /** Records lost since start(). */
  get dropped(): number {
    return this.#droppedTotal;
  }

  /** Id of a name, to be kept by the caller: interning looks up a map. */
  name(text: string): number {
    return this.#names.intern(text);
  }

  /** Adds a track beside the thread's own, e.g. for work reported by others; returns its index. */
  addThread(thread: SpanThread): number {
    this.#threads.push(thread);
    return this.#threads.length - 1;
  }

  /** Starts recording into an empty ring; names and threads are handed out again with the next drain. */
  start(): void {
    this.#head = 0;
    this.#count = 0;
    this.#dropped = 0;
    this.#droppedTotal = 0;
    this.#names.rewind();
    this.#threadsTaken = 0;
    this.#enabled = true;
  }

  /** Stops recording; spans still open end now. What is in the ring stays for drain(). */
  stop(): void {
    if (!this.#enabled) return;
    for (let i = this.#depth - 1; i >= 0; i--) this.#close(i, this.#stamp());
    this.#openBegin.fill(-1);
    this.#enabled = false;
  }

  /** Nanoseconds on this recorder's clock, for the calls that take times. */
  now(): number {
    return this.#clock.now();
  }

  /** Opens a span inside the innermost open one. Returns the mark that end() takes. */
  begin(category: SpanCategory, name: number, layer = -1): number {
    const depth = this.#depth++;
    if (depth >= MAX_DEPTH) {
      if (this.#enabled) this.#drop();
      return depth;
    }
    if (!this.#enabled) {
      this.#openBegin[depth] = -1;
      return depth;
    }
    // Begins strictly increase: viewers place a child that begins with its parent wrongly.
    const now = Math.max(this.#clock.now(), this.#lastNs + 1);
    this.#lastNs = now;
    this.#openBegin[depth] = now;
    const at = depth * RECORD_WORDS;
    this.#open[at] = RECORD_KIND.span | (CATEGORY_ID[category] << 8);
    this.#open[at + 1] = name;
    this.#open[at + 6] = 0;
    this.#open[at + 7] = 0;
    this.#open[at + SCHEMA_WORD] = (layer & 0xffff) << 16;
    return depth;
  }

  /** Gives the span of `mark` its arguments. */
  args(mark: number, schema: SpanSchema, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0): void {
    if (!this.#enabled || mark >= MAX_DEPTH || mark >= this.#depth) return;
    this.#writeArgs(this.#open, mark * RECORD_WORDS, schema, a, b, c, d, e, f, g);
  }

  /** Gives the span of `mark` an id, by which flows and native records refer to it. */
  identify(mark: number, id: number): void {
    if (!this.#enabled || mark >= MAX_DEPTH || mark >= this.#depth) return;
    this.#open[mark * RECORD_WORDS + 6] = id;
    this.#open[mark * RECORD_WORDS + 7] = Math.floor(id / TWO_32);
  }

  /** Closes the span of `mark`, and any inside it that was left open by an exception. */
  end(mark: number): void {
    if (mark >= this.#depth) return;
    if (this.#enabled) {
      const now = this.#stamp();
      for (let i = Math.min(this.#depth, MAX_DEPTH) - 1; i >= mark; i--) this.#close(i, now);
    }
    this.#depth = mark;
  }

  /** A span of another track with known times; the caller sees to it that spans of the track nest. */
  span(
    thread: number,
    category: SpanCategory,
    name: number,
    beginNs: number,
    endNs: number,
    id = 0,
    schema: SpanSchema = 'none',
    a = 0,
    b = 0,
    c = 0,
    d = 0,
    e = 0,
    f = 0,
    g = 0,
  ): void {
    this.#put(RECORD_KIND.span, category, thread, name, beginNs, endNs, id, schema, a, b, c, d, e, f, g);
  }

  instant(category: SpanCategory, name: number): void {
    const now = this.#clock.now();
    this.#put(RECORD_KIND.instant, category, 0, name, now, now, 0, 'none', 0, 0, 0, 0, 0, 0, 0);
  }

  counter(name: number, schema: SpanSchema, a: number, b = 0, c = 0): void {
    const now = this.#clock.now();
    this.#put(RECORD_KIND.counter, 'memory', 0, name, now, now, 0, schema, a, b, c, 0, 0, 0, 0);
  }

  /** A point of an arrow, now, bound to the innermost open span. Arrows with equal category, name and id are one. */
  flow(point: 'start' | 'step' | 'end', category: SpanCategory, name: number, id: number): void {
    if (!this.#enabled) return;
    const now = this.#stamp();
    this.#put(FLOW_KIND[point], category, 0, name, now, now, id, 'none', 0, 0, 0, 0, 0, 0, 0);
  }

  /** A point, now, of the arrow of that category, name and id; its direction is found by the writer. */
  flowPoint(category: SpanCategory, name: number, id: number): void {
    // Not the clock's time: the span around may have been given a later begin.
    if (this.#enabled) this.flowPointAt(0, category, name, id, this.#stamp());
  }

  /** As flowPoint, at a known time of a track. */
  flowPointAt(thread: number, category: SpanCategory, name: number, id: number, ns: number): void {
    this.#put(RECORD_KIND.flowPoint, category, thread, name, ns, ns, id, 'none', 0, 0, 0, 0, 0, 0, 0);
  }

  /** Work with its own identity that may overlap other work of this thread, such as a request. */
  async(
    category: SpanCategory,
    name: number,
    id: number,
    beginNs: number,
    endNs: number,
    schema: SpanSchema = 'none',
    a = 0,
    b = 0,
    c = 0,
    d = 0,
    e = 0,
  ): void {
    this.#put(RECORD_KIND.async, category, 0, name, beginNs, endNs, id, schema, a, b, c, d, e, 0, 0);
  }

  /**
   * Takes the records out of the ring; undefined where there are none and none was dropped. It copies them (64 bytes
   * each), so a thread that serves drains every few thousand records rather than once at the end.
   */
  drain(): SpanChunk | undefined {
    if (this.#count === 0 && this.#dropped === 0) return undefined;
    const records = new ArrayBuffer(CHUNK_HEADER_BYTES + this.#count * RECORD_BYTES);
    const header = new DataView(records);
    header.setUint32(CHUNK_HEADER.magic, CHUNK_MAGIC, true);
    header.setUint32(CHUNK_HEADER.version, SPAN_LAYOUT_VERSION, true);
    header.setBigInt64(CHUNK_HEADER.baseNs, this.#clock.baseNs, true);
    header.setUint32(CHUNK_HEADER.dropped, Math.min(this.#dropped, 0xffff_ffff), true);
    const out = new Uint8Array(records, CHUNK_HEADER_BYTES);
    const untilWrap = Math.min(this.#count, this.#capacity - this.#head);
    out.set(this.#bytes.subarray(this.#head * RECORD_BYTES, (this.#head + untilWrap) * RECORD_BYTES));
    out.set(this.#bytes.subarray(0, (this.#count - untilWrap) * RECORD_BYTES), untilWrap * RECORD_BYTES);
    this.#head = (this.#head + this.#count) % this.#capacity;
    this.#count = 0;
    this.#dropped = 0;
    const threads = this.#threads.slice(this.#threadsTaken);
    this.#threadsTaken = this.#threads.length;
    return { records: new Uint8Array(records), names: this.#names.takeNew(), threads };
  }

  /** A time that is not before any other of this thread. */
  #stamp(): number {
    this.#lastNs = Math.max(this.#clock.now(), this.#lastNs);
    return this.#lastNs;
  }

  #close(index: number, endNs: number): void {
    if (index >= MAX_DEPTH) return;
    const beginNs = this.#openBegin[index]!;
    if (beginNs < 0) return;
    const at = this.#claim();
    if (at < 0) return;
    const words = this.#words;
    const from = index * RECORD_WORDS;
    const open = this.#open;
    words[at] = open[from]!;
    words[at + 1] = open[from + 1]!;
    words[at + 6] = open[from + 6]!;
    words[at + 7] = open[from + 7]!;
    const schema = open[from + SCHEMA_WORD]!;
    words[at + SCHEMA_WORD] = schema;
    // Argument words that its schema does not have are left as they are: nobody reads them.
    const end = ARGS_WORD + this.#schemas[schema & 0xffff]!.words;
    for (let i = ARGS_WORD; i < end; i++) words[at + i] = open[from + i]!;
    this.#writeTimes(at, beginNs, endNs);
  }

  #put(
    kind: number,
    category: SpanCategory,
    thread: number,
    name: number,
    beginNs: number,
    endNs: number,
    id: number,
    schema: SpanSchema,
    a: number,
    b: number,
    c: number,
    d: number,
    e: number,
    f: number,
    g: number,
  ): void {
    if (!this.#enabled) return;
    const at = this.#claim();
    if (at < 0) return;
    const words = this.#words;
    words[at] = kind | (CATEGORY_ID[category] << 8) | (thread << 16);
    words[at + 1] = name;
    words[at + 6] = id;
    words[at + 7] = Math.floor(id / TWO_32);
    words[at + SCHEMA_WORD] = 0xffff_0000;
    this.#writeTimes(at, beginNs, endNs);
    this.#writeArgs(words, at, schema, a, b, c, d, e, f, g);
  }

  #drop(): void {
    this.#dropped++;
    this.#droppedTotal++;
  }

  /** Word position of a new record, or -1 where the ring is full. */
  #claim(): number {
    if (this.#count === this.#capacity) {
      this.#drop();
      return -1;
    }
    let slot = this.#head + this.#count++;
    if (slot >= this.#capacity) slot -= this.#capacity;
    return slot * RECORD_WORDS;
  }

  #writeTimes(at: number, beginNs: number, endNs: number): void {
    const words = this.#words;
    words[at + 2] = beginNs;
    words[at + 3] = Math.floor(beginNs / TWO_32);
    words[at + 4] = endNs;
    words[at + 5] = Math.floor(endNs / TWO_32);
  }

  #writeArgs(
    words: Uint32Array,
    record: number,
    schema: SpanSchema,
    a: number,
    b: number,
    c: number,
    d: number,
    e: number,
    f: number,
    g: number,
  ): void {
    const id = SCHEMA_ID[schema];
    words[record + SCHEMA_WORD] = (words[record + SCHEMA_WORD]! & 0xffff_0000) | id;
    if (id === SCHEMA_ID.none) return;
    const { encodings, plain } = this.#schemas[id]!;
    let at = record + ARGS_WORD;
    if (plain) {
      words[at] = a;
      words[at + 1] = b;
      words[at + 2] = c;
      words[at + 3] = d;
      words[at + 4] = e;
      words[at + 5] = f;
      words[at + 6] = g;
      return;
    }
    for (let i = 0; i < encodings.length; i++) {
      const value = i === 0 ? a : i === 1 ? b : i === 2 ? c : i === 3 ? d : i === 4 ? e : i === 5 ? f : g;
      const encoding = encodings[i];
      if (encoding === ENCODE.word) {
        words[at++] = value;
      } else if (encoding === ENCODE.int64) {
        words[at++] = value;
        words[at++] = Math.floor(value / TWO_32);
      } else if (encoding === ENCODE.float64) {
        this.#scratch.setFloat64(0, value, true);
        words[at++] = this.#scratch.getUint32(0, true);
        words[at++] = this.#scratch.getUint32(4, true);
      } else {
        this.#scratch.setFloat32(0, value, true);
        words[at++] = this.#scratch.getUint32(0, true);
      }
    }
  }
}

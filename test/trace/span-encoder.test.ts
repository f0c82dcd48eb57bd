// The text of events against a plain reading of the layout tables.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ArgumentField,
  fieldWords,
  type RecordKind,
  SPAN_CATEGORIES,
  SPAN_SCHEMAS,
  type SpanCategory,
  type SpanSchema,
} from '#vitrine/trace/record/span-layout.js';
import type { SpanChunk } from '#vitrine/trace/record/span-source.js';
import { EventList } from '#vitrine/trace/write/event-list.js';
import { FlowPoints } from '#vitrine/trace/write/flow-points.js';
import { SpanEncoder } from '#vitrine/trace/write/span-encoder.js';
import { TextBuffer } from '#vitrine/trace/write/text-buffer.js';
import { RandomChoices } from '../support/random-choices.js';
import { type RawRecord, rawChunk } from '../support/span-chunks.js';

const PID = 4711;
const THREADS = [
  { tid: 1, name: 'main', sortIndex: 0 },
  { tid: 2_147_483_647, name: 'worker', sortIndex: 1 },
];
const NAMES = [
  'gemm',
  'a "quoted" \\ name',
  'line\nbreak \u0001',
  'größer €',
  '\u007f😀',
  '',
  'x'.repeat(1024),
  '€'.repeat(1024),
];
const MONOTONIC_TO_WALL_NS = 1_750_000_000_000_000_123n;
const BASE_NS = 1_743_521_598_000_000_000n;
const CHUNK_BASE_NS = 77_000_000_007n;
const SHIFT_NS = CHUNK_BASE_NS + MONOTONIC_TO_WALL_NS - BASE_NS;
const CATEGORIES = Object.keys(SPAN_CATEGORIES) as SpanCategory[];
const SCHEMAS = Object.keys(SPAN_SCHEMAS) as SpanSchema[];
const KINDS: readonly RecordKind[] = [
  'span',
  'span',
  'span',
  'instant',
  'counter',
  'flowStart',
  'flowStep',
  'flowEnd',
  'async',
];
const PHASES = {
  span: 'X',
  instant: 'i',
  counter: 'C',
  flowStart: 's',
  flowStep: 't',
  flowEnd: 'f',
  async: 'b',
} as const;
const IDS = [0n, 0n, 1n, 999n, 1000n, 2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
const WORDS = [0, 1, 9, 10, 99, 100, 999, 1000, 999_999, 1_000_000, 2 ** 31 - 1, -1, -1000, -(2 ** 31)];
const FLOATS = [0, -0, 1, -7, 0.1, 1e300, 2 ** 40, 2 ** 53, Number.NaN, Number.NEGATIVE_INFINITY, 8192];

const nameOf = (id: number) => JSON.stringify(NAMES[id] ?? `(unknown name ${id})`);
const microseconds = (ns: bigint) => `${ns / 1000n}.${String(ns % 1000n).padStart(3, '0')}`;
const later = (a: bigint, b: bigint) => (a > b ? a : b);

function floatText(value: number): string {
  return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
}

function argumentText(field: ArgumentField, view: DataView, at: number): string {
  const word = view.getUint32(at, true);
  switch (field.type) {
    case 'i32':
      return `${view.getInt32(at, true)}`;
    case 'u32':
      return `${word}`;
    case 'f32':
      return floatText(Number(view.getFloat32(at, true).toPrecision(6)));
    case 'f64':
      return floatText(view.getFloat64(at, true));
    case 'i64':
      return `${view.getBigInt64(at, true)}`;
    case 'name':
      return nameOf(word);
    case 'choice':
      return JSON.stringify(field.choices![word] ?? word);
    case 'dims':
      return JSON.stringify(Array.from({ length: field.size! }, (_, i) => view.getInt32(at + 4 * i, true)));
  }
}

/** `[name, JSON]` of what the schema and words of a record say, shapes last. */
function schemaArguments(record: RawRecord, recordShapes: boolean): [string, string][] {
  const view = new DataView(new ArrayBuffer(28));
  for (const [i, word] of (record.words ?? []).entries()) view.setInt32(4 * i, word, true);
  const found: [string, string][] = [];
  const shapes: string[] = [];
  let at = 0;
  for (const field of SPAN_SCHEMAS[record.schema ?? 'none'] as readonly ArgumentField[]) {
    const text = argumentText(field, view, at);
    if (field.name === 'Input Dims') shapes.push(text);
    else found.push([field.name, text]);
    at += 4 * fieldWords(field);
  }
  if (shapes.length > 0 && recordShapes) found.push(['Input Dims', `[${shapes}]`]);
  return found;
}

/** The events that records become, `more` records following theirs. */
function expectedEvents(records: readonly RawRecord[], recordShapes: boolean): string[] {
  const events: string[] = [];
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!;
    if (record.kind === 'more' || record.kind === 'flowPoint') continue;
    const kind = record.kind as keyof typeof PHASES;
    const category = SPAN_CATEGORIES[record.category!];
    const args: [string, string][] = [];
    if (record.id !== 0n && kind !== 'async') args.push([category.idArgument, `${record.id}`]);
    if (record.layer! >= 0) args.push(['layer', `${record.layer}`]);
    let next = i;
    do args.push(...schemaArguments(records[next++]!, recordShapes));
    while (records[next]?.kind === 'more');

    const begin = later(record.begin! + SHIFT_NS, 0n);
    const event = (phase: string, ns: bigint, members: readonly (readonly [string, string])[]) => {
      const all = [
        ['ph', `"${phase}"`],
        ['cat', `"${category.name}"`],
        ['name', nameOf(record.name!)],
        ['pid', `${PID}`],
        ['tid', `${THREADS[record.thread!]!.tid}`],
        ['ts', microseconds(ns)],
        ...members,
      ];
      events.push(`{${all.map(([key, text]) => `"${key}":${text}`).join(',')}}`);
    };
    const id = ['id', `${record.id}`] as const;
    const argsMember: [string, string][] =
      args.length === 0 ? [] : [['args', `{${args.map(([key, text]) => `"${key}":${text}`).join(',')}}`]];
    const phase = PHASES[kind];
    if (kind === 'span') {
      event(phase, begin, [['dur', microseconds(later(record.end! - record.begin!, 0n))], ...argsMember]);
    } else if (kind === 'instant') {
      event(phase, begin, [['s', '"t"'], ...argsMember]);
    } else if (kind === 'counter') {
      event(phase, begin, argsMember);
    } else if (kind === 'async') {
      event(phase, begin, [id, ...argsMember]);
      event('e', later(record.end! + SHIFT_NS, 0n), [id]);
    } else {
      event(phase, begin, kind === 'flowEnd' ? [id, ['bp', '"e"']] : [id]);
    }
  }
  return events;
}

/** Seven words that hold the fields of a schema. */
function randomWords(random: RandomChoices, schema: SpanSchema): number[] {
  const view = new DataView(new ArrayBuffer(28));
  let at = 0;
  for (const field of SPAN_SCHEMAS[schema] as readonly ArgumentField[]) {
    for (let i = 0; i < fieldWords(field); i++) view.setInt32(at + 4 * i, random.pick(WORDS), true);
    if (field.type === 'f64') view.setFloat64(at, random.pick(FLOATS), true);
    if (field.type === 'f32') view.setFloat32(at, random.pick(FLOATS), true);
    if (field.type === 'name') view.setUint32(at, random.integer(0, NAMES.length), true);
    if (field.type === 'choice') view.setUint32(at, random.integer(0, 3), true);
    at += 4 * fieldWords(field);
  }
  return Array.from({ length: 7 }, (_, i) => view.getInt32(4 * i, true));
}

function randomRecord(random: RandomChoices, kind: RecordKind): RawRecord {
  const schema = random.pick(SCHEMAS);
  // Some records are older than the file's base; of a few the end was lost.
  const begin = random.chance(0.05) ? -SHIFT_NS - 5n : BigInt(random.integer(0, 2 ** random.integer(1, 50)));
  return {
    kind,
    category: random.pick(CATEGORIES),
    thread: random.integer(0, THREADS.length - 1),
    name: random.integer(0, NAMES.length),
    begin,
    end: random.chance(0.05) ? begin - 1n : begin + BigInt(random.integer(0, 2 ** random.integer(1, 45))),
    id: random.pick(IDS),
    schema,
    layer: random.pick([-1, -1, 0, 7, 126, 32_767]),
    words: randomWords(random, schema),
  };
}

function randomRecords(random: RandomChoices, count: number): RawRecord[] {
  const records: RawRecord[] = [];
  for (let i = 0; i < count; i++) {
    records.push(randomRecord(random, random.pick(KINDS)));
    while (random.chance(0.2)) records.push(randomRecord(random, 'more'));
    if (random.chance(0.1)) records.push(randomRecord(random, 'flowPoint'));
  }
  return records;
}

function createEncoder(recordShapes: boolean): SpanEncoder {
  return new SpanEncoder({
    process: { pid: PID, name: 'rank', sortIndex: 0 },
    monotonicToWallNs: MONOTONIC_TO_WALL_NS,
    baseNs: BASE_NS,
    recordShapes,
    flowPoints: new FlowPoints(),
    tables: { names: NAMES.slice(0, 3), threads: THREADS.slice(0, 1) },
  });
}

function encodeAll(
  encoder: SpanEncoder,
  chunks: readonly SpanChunk[],
  capacity: number,
): { text: string; events: number } {
  const pieces: Buffer[] = [];
  const text = new TextBuffer(capacity, (bytes) => pieces.push(Buffer.from(bytes)));
  const events = new EventList(text);
  for (const chunk of chunks) encoder.encode(chunk, events);
  text.flush();
  return { text: Buffer.concat(pieces).toString(), events: events.length };
}

/** The same records where no word of them is aligned, and in memory that threads share. */
function elsewhere(chunk: SpanChunk): SpanChunk[] {
  const { length } = chunk.records;
  const places = [
    new Uint8Array(new ArrayBuffer(length + 9), 3, length),
    new Uint8Array(new SharedArrayBuffer(length)),
  ];
  return places.map((records) => {
    records.set(chunk.records);
    return { records, names: [], threads: [] };
  });
}

for (const recordShapes of [true, false]) {
  test(`events are, byte for byte, what the layout says, ${recordShapes ? 'with' : 'without'} shapes`, () => {
    const random = new RandomChoices(recordShapes ? 11 : 12);
    for (const capacity of [160, 5000, 1 << 20]) {
      const records = randomRecords(random, 1500);
      const chunk = rawChunk({ records, names: NAMES.slice(3), threads: THREADS.slice(1), baseNs: CHUNK_BASE_NS });
      const once = expectedEvents(records, recordShapes);
      const expected = [...once, ...once, ...once];
      const { text, events } = encodeAll(createEncoder(recordShapes), [chunk, ...elsewhere(chunk)], capacity);
      assert.deepEqual(
        text
          .split('\n')
          .slice(1)
          .map((line) => line.replace(/,$/, '')),
        expected,
      );
      assert.equal(text, `\n${expected.join(',\n')}`);
      assert.equal(events, expected.length);
      assert.equal(JSON.parse(`[${text}]`).length, expected.length);
    }
  });
}

test('a record of unknown kind, category, thread or schema is refused before it leaves a mark', () => {
  const good: RawRecord = { begin: 1n, end: 2n };
  const break_ = (change: (record: DataView) => void): SpanChunk => {
    const chunk = rawChunk({ records: [good, good], names: NAMES, threads: THREADS });
    change(new DataView(chunk.records.buffer as ArrayBuffer, 128));
    return chunk;
  };
  const broken = [
    break_((record) => record.setUint8(0, 0)),
    break_((record) => record.setUint8(0, 10)),
    break_((record) => record.setUint8(1, CATEGORIES.length)),
    break_((record) => record.setUint16(2, 3, true)),
    break_((record) => record.setUint16(32, SCHEMAS.length, true)),
    rawChunk({ records: [{ kind: 'more' }], threads: THREADS }),
  ];
  for (const [index, chunk] of broken.entries()) {
    const text = new TextBuffer(1000, () => assert.fail('full'));
    const events = new EventList(text);
    assert.throws(() => createEncoder(true).encode(chunk, events), {
      code: 'INTERNAL',
      message: /at byte \d+: unknown/,
    });
    assert.equal(events.length, index === broken.length - 1 ? 0 : 1);
    const left = text.length;
    events.add('');
    assert.equal(text.length - left, events.length === 1 ? 1 : 2, 'a separator and nothing else');
  }
});

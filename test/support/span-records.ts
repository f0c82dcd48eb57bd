// Reads a span chunk of the native engine from the layout tables alone.
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
} from '#vitrine/trace/record/span-layout.js';

export interface ReadSpan {
  readonly thread: number;
  readonly category: string;
  readonly name: string;
  /** ns after the chunk's base. */
  readonly begin: number;
  readonly end: number;
  readonly layer: number;
  readonly bytes: number;
  /** 0: none, or its own schema says it. */
  readonly flops: number;
  readonly module: string;
  readonly shapes: readonly (readonly number[])[];
  readonly kvTokens: number;
}

export interface ReadChunk {
  readonly baseNs: bigint;
  readonly dropped: number;
  readonly spans: readonly ReadSpan[];
}

export function readSpans(chunk: ArrayBuffer, names: readonly string[]): ReadChunk {
  const view = new DataView(chunk);
  if (view.getUint32(CHUNK_HEADER.magic, true) !== CHUNK_MAGIC) throw new Error('not a chunk');
  if (view.getUint32(CHUNK_HEADER.version, true) !== SPAN_LAYOUT_VERSION) throw new Error('another version');
  const spans: ReadSpan[] = [];
  for (let at = CHUNK_HEADER_BYTES; at < view.byteLength; at += RECORD_BYTES) {
    const kind = view.getUint8(at + RECORD_OFFSET.kind);
    const span = readSpan(view, at, names);
    const last = spans.at(-1);
    if (kind === RECORD_KIND.more && last !== undefined) {
      spans[spans.length - 1] = { ...last, bytes: last.bytes + span.bytes, flops: last.flops + span.flops };
      continue;
    }
    if (kind !== RECORD_KIND.span) throw new Error(`no span at ${at}`);
    spans.push(span);
  }
  return {
    baseNs: view.getBigInt64(CHUNK_HEADER.baseNs, true),
    dropped: view.getUint32(CHUNK_HEADER.dropped, true),
    spans,
  };
}

function readSpan(view: DataView, at: number, names: readonly string[]): ReadSpan {
  const fields: readonly ArgumentField[] | undefined =
    Object.values(SPAN_SCHEMAS)[view.getUint16(at + RECORD_OFFSET.schema, true)];
  let word = at + RECORD_OFFSET.args;
  const values = new Map<string, number>();
  const shapes: number[][] = [];
  for (const { name, type, size = 1 } of fields!) {
    if (type === 'dims') {
      shapes.push(Array.from({ length: size }, (_, i) => view.getInt32(word + 4 * i, true)));
      word += 4 * size;
    } else {
      values.set(name, readNumber(view, word, type));
      word += type === 'i64' || type === 'f64' ? 8 : 4;
    }
  }
  const module = values.get('module');
  return {
    thread: view.getUint16(at + RECORD_OFFSET.thread, true),
    category: Object.values(SPAN_CATEGORIES)[view.getUint8(at + RECORD_OFFSET.category)]!.name,
    name: names[view.getUint32(at + RECORD_OFFSET.name, true)]!,
    begin: Number(view.getBigInt64(at + RECORD_OFFSET.begin, true)),
    end: Number(view.getBigInt64(at + RECORD_OFFSET.end, true)),
    layer: view.getInt16(at + RECORD_OFFSET.layer, true),
    bytes: values.get('bytes') ?? 0,
    flops: values.get('flops') ?? 0,
    module: module === undefined ? '' : names[module]!,
    shapes,
    kvTokens: values.get('kv tokens') ?? 0,
  };
}

function readNumber(view: DataView, at: number, type: ArgumentField['type']): number {
  if (type === 'i64') return Number(view.getBigInt64(at, true));
  return type === 'f64' ? view.getFloat64(at, true) : view.getInt32(at, true);
}

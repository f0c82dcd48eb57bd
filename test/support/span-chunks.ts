// Builds span chunks byte by byte, as a native producer does, from the layout tables alone.
import {
  CATEGORY_ID,
  CHUNK_HEADER,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  RECORD_BYTES,
  RECORD_KIND,
  RECORD_OFFSET,
  type RecordKind,
  SCHEMA_ID,
  SPAN_LAYOUT_VERSION,
  type SpanCategory,
  type SpanSchema,
} from '#vitrine/trace/record/span-layout.js';
import type { SpanChunk, SpanThread } from '#vitrine/trace/record/span-source.js';

export interface RawRecord {
  readonly kind?: RecordKind;
  readonly category?: SpanCategory;
  readonly thread?: number;
  readonly name?: number;
  readonly begin?: bigint;
  readonly end?: bigint;
  readonly id?: bigint;
  readonly schema?: SpanSchema;
  readonly layer?: number;
  readonly words?: readonly number[];
}

export interface RawChunk {
  readonly records: readonly RawRecord[];
  readonly names?: readonly string[];
  readonly threads?: readonly SpanThread[];
  readonly baseNs?: bigint;
  readonly dropped?: number;
}

export function rawChunk({ records, names = [], threads = [], baseNs = 0n, dropped = 0 }: RawChunk): SpanChunk {
  const buffer = new ArrayBuffer(CHUNK_HEADER_BYTES + records.length * RECORD_BYTES);
  const view = new DataView(buffer);
  view.setUint32(CHUNK_HEADER.magic, CHUNK_MAGIC, true);
  view.setUint32(CHUNK_HEADER.version, SPAN_LAYOUT_VERSION, true);
  view.setBigInt64(CHUNK_HEADER.baseNs, baseNs, true);
  view.setUint32(CHUNK_HEADER.dropped, dropped, true);
  records.forEach((record, index) => {
    const at = CHUNK_HEADER_BYTES + index * RECORD_BYTES;
    view.setUint8(at + RECORD_OFFSET.kind, RECORD_KIND[record.kind ?? 'span']);
    view.setUint8(at + RECORD_OFFSET.category, CATEGORY_ID[record.category ?? 'cpuOp']);
    view.setUint16(at + RECORD_OFFSET.thread, record.thread ?? 0, true);
    view.setUint32(at + RECORD_OFFSET.name, record.name ?? 0, true);
    view.setBigInt64(at + RECORD_OFFSET.begin, record.begin ?? 0n, true);
    view.setBigInt64(at + RECORD_OFFSET.end, record.end ?? record.begin ?? 0n, true);
    view.setBigUint64(at + RECORD_OFFSET.id, record.id ?? 0n, true);
    view.setUint16(at + RECORD_OFFSET.schema, SCHEMA_ID[record.schema ?? 'none'], true);
    view.setInt16(at + RECORD_OFFSET.layer, record.layer ?? -1, true);
    for (const [i, word] of (record.words ?? []).entries()) view.setInt32(at + RECORD_OFFSET.args + 4 * i, word, true);
  });
  return { records: new Uint8Array(buffer), names, threads };
}

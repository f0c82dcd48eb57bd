// Gathers the chunks of one source in one large buffer, in the thread that records: handing over a buffer costs that thread
// more than copying a few KiB. The buffers are shared memory, which is handed over without being moved and, unlike other
// buffers, does not make V8 collect garbage in the thread that records.
import { CHUNK_HEADER, CHUNK_HEADER_BYTES, RECORD_BYTES, RECORD_KIND, RECORD_OFFSET } from '../record/span-layout.js';
import type { SpanChunk, SpanThread } from '../record/span-source.js';

/** Size of the buffers that are handed over. */
export const STAGE_BYTES = 1 << 20;
const HEADER_WORDS = CHUNK_HEADER_BYTES / 4;
const DROPPED_WORD = CHUNK_HEADER.dropped / 4;
const MAX_DROPPED = 0xffff_ffff;

export class ChunkStage {
  #bytes = new Uint8Array(new SharedArrayBuffer(0));
  #header = new Uint32Array(new SharedArrayBuffer(0));
  /** 0: nothing is here. */
  #used = 0;
  #names: string[] = [];
  #threads: SpanThread[] = [];

  /** Bytes of records that are here. */
  get recordBytes(): number {
    return this.#used === 0 ? 0 : this.#used - CHUNK_HEADER_BYTES;
  }

  get isEmpty(): boolean {
    return this.#used === 0;
  }

  /** Whether chunks with this header may be added to what is here: magic, version and time base are the same. */
  continues(header: Uint32Array): boolean {
    if (this.#used === 0) return true;
    for (let word = 0; word < DROPPED_WORD; word++) if (this.#header[word] !== header[word]) return false;
    return true;
  }

  /**
   * Copies records of a chunk, from byte `from` on, to the end of what is here; returns the byte up to which they fit.
   * `withTables`: also its names, threads and count of dropped records, which go with the first part. `spare`: a buffer of
   * STAGE_BYTES to begin with, if one is needed.
   */
  append(chunk: SpanChunk, from: number, withTables: boolean, spare: () => SharedArrayBuffer): number {
    const header = headerOf(chunk.records);
    if (this.#used === 0) this.#begin(header, spare());
    if (withTables) this.#addTables(chunk, header[DROPPED_WORD]!);
    const end = endOfPart(chunk.records, from, STAGE_BYTES - this.#used);
    this.#bytes.set(chunk.records.subarray(from, end), this.#used);
    this.#used += end - from;
    return end;
  }

  /** Takes out what is here, as one chunk. */
  take(): SpanChunk {
    const chunk = { records: this.#bytes.subarray(0, this.#used), names: this.#names, threads: this.#threads };
    this.#used = 0;
    this.#names = [];
    this.#threads = [];
    return chunk;
  }

  #begin(header: Uint32Array, buffer: SharedArrayBuffer): void {
    this.#bytes = new Uint8Array(buffer);
    this.#header = new Uint32Array(buffer, 0, HEADER_WORDS);
    this.#header.set(header);
    this.#header[DROPPED_WORD] = 0;
    this.#used = CHUNK_HEADER_BYTES;
  }

  #addTables({ names, threads }: SpanChunk, dropped: number): void {
    this.#header[DROPPED_WORD] = Math.min(this.#header[DROPPED_WORD]! + dropped, MAX_DROPPED);
    if (names.length > 0) this.#names = this.#names.concat(names);
    if (threads.length > 0) this.#threads = this.#threads.concat(threads);
  }
}

/** Whether the bytes can be a chunk: a header and whole records. */
export function isChunk({ byteLength }: Uint8Array): boolean {
  return byteLength >= CHUNK_HEADER_BYTES && (byteLength - CHUNK_HEADER_BYTES) % RECORD_BYTES === 0;
}

/** The words of a chunk's header. */
export function headerOf(records: Uint8Array): Uint32Array {
  if (records.byteOffset % 4 === 0) return new Uint32Array(records.buffer, records.byteOffset, HEADER_WORDS);
  return new Uint32Array(records.slice(0, CHUNK_HEADER_BYTES).buffer);
}

/** End of the whole records from `from` on that fit into `room` bytes. Arguments stay with the record they belong to. */
function endOfPart(records: Uint8Array, from: number, room: number): number {
  let end = Math.min(records.byteLength, from + room - (room % RECORD_BYTES));
  while (end > from && end < records.byteLength && records[end + RECORD_OFFSET.kind] === RECORD_KIND.more) {
    end -= RECORD_BYTES;
  }
  return end;
}

// Gathers the small chunks of one source into one large buffer, in the thread that records: handing over a buffer costs
// that thread more than copying a few KiB.
import { CHUNK_HEADER, CHUNK_HEADER_BYTES, RECORD_BYTES } from './span-layout.js';
import type { SpanChunk, SpanThread } from './span-source.js';

/** Size of the buffers that are handed over. */
export const STAGE_BYTES = 1 << 20;
const HEADER_WORDS = CHUNK_HEADER_BYTES / 4;
const DROPPED_WORD = CHUNK_HEADER.dropped / 4;
const MAX_DROPPED = 0xffff_ffff;

export class ChunkStage {
  #buffer = new ArrayBuffer(0);
  #bytes = new Uint8Array(0);
  #header = new Uint32Array(0);
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

  /**
   * Copies a chunk to the end of what is here; without its records where `withRecords` is false. False, and nothing is
   * changed, where it does not fit, has another time base than what is here, or is no chunk. `spare`: a buffer of
   * STAGE_BYTES to begin with, if one is needed.
   */
  append({ records, names, threads }: SpanChunk, withRecords: boolean, spare: () => ArrayBuffer): boolean {
    const { byteLength } = records;
    if (byteLength < CHUNK_HEADER_BYTES || (byteLength - CHUNK_HEADER_BYTES) % RECORD_BYTES !== 0) return false;
    const recordBytes = withRecords ? byteLength - CHUNK_HEADER_BYTES : 0;
    if (recordBytes > STAGE_BYTES - Math.max(this.#used, CHUNK_HEADER_BYTES)) return false;
    const header = new Uint32Array(records, 0, HEADER_WORDS);
    if (this.#used === 0) this.#begin(header, spare());
    else if (!this.#continue(header)) return false;
    if (recordBytes > 0) this.#bytes.set(new Uint8Array(records, CHUNK_HEADER_BYTES, recordBytes), this.#used);
    this.#used += recordBytes;
    if (names.length > 0) this.#names = this.#names.concat(names);
    if (threads.length > 0) this.#threads = this.#threads.concat(threads);
    return true;
  }

  /** Takes out what is here, as one chunk at the beginning of its buffer. */
  take(): SpanChunk {
    const chunk = { records: this.#buffer, names: this.#names, threads: this.#threads };
    this.#buffer = new ArrayBuffer(0);
    this.#used = 0;
    this.#names = [];
    this.#threads = [];
    return chunk;
  }

  #begin(header: Uint32Array, buffer: ArrayBuffer): void {
    this.#buffer = buffer;
    this.#bytes = new Uint8Array(buffer);
    this.#header = new Uint32Array(buffer, 0, HEADER_WORDS);
    this.#header.set(header);
    this.#used = CHUNK_HEADER_BYTES;
  }

  #continue(header: Uint32Array): boolean {
    const own = this.#header;
    // Magic, version, time base.
    for (let word = 0; word < DROPPED_WORD; word++) if (own[word] !== header[word]) return false;
    own[DROPPED_WORD] = Math.min(own[DROPPED_WORD]! + header[DROPPED_WORD]!, MAX_DROPPED);
    return true;
  }
}

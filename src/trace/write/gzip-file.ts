// One gzip file, written whole or not at all: under a temporary name, synced, renamed. Compression runs on the calling
// thread (not on libuv's pool), so that a thread of low priority keeps all of the work to itself.
import { closeSync, fsyncSync, ftruncateSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { constants, crc32, deflateRawSync } from 'node:zlib';
import { toError, VitrineError } from '../../util/errors.js';
import { makeDirectorySync } from '../../util/make-directory.js';
import { TextBuffer } from './text-buffer.js';

/** Deflate level 1: trace text shrinks about tenfold at it, and higher levels cost several times more for little. */
const LEVEL = 1;
/** Compressing one takes half a millisecond, in which a polite thread cannot give way. */
const PART_BYTES = 1 << 18;
/** What a part becomes fits, as a rule, so zlib need not join pieces of its output. */
const COMPRESSED_PART_BYTES = PART_BYTES >> 3;
const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3);

/** A position to come back to. */
export interface GzipMark {
  readonly fileBytes: number;
  readonly textBytes: number;
  readonly crc: number;
}

function reasonOf(code: string | undefined): string {
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'no space left on the device';
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'no permission to write there';
  if (code === 'ENOTDIR' || code === 'EEXIST') return 'a part of its path is not a directory';
  return code ?? 'unknown reason';
}

export function notWritten(path: string, thrown: unknown): VitrineError {
  const cause = toError(thrown);
  const reason = reasonOf((cause as NodeJS.ErrnoException).code);
  return new VitrineError('TRACE_NOT_WRITTEN', `Cannot write the trace file ${path}: ${reason} (${cause.message}).`, {
    param: 'output_dir',
    cause,
  });
}

/** Throws VitrineError TRACE_NOT_WRITTEN from every method; the temporary file is gone then. */
export class GzipFile {
  readonly path: string;
  /** Where the text of the file is put together; what is put there is written. */
  readonly text = new TextBuffer(PART_BYTES, (part) => this.#compress(part));
  readonly #temporary: string;
  #fd: number;
  #fileBytes = 0;
  #textBytes = 0;
  #crc = 0;

  /** Creates missing directories and the temporary file beside `path`. */
  constructor(path: string) {
    this.path = path;
    this.#temporary = join(
      dirname(path),
      `.${basename(path)}.${process.pid}-${process.hrtime.bigint().toString(36)}.tmp`,
    );
    try {
      makeDirectorySync(dirname(path));
      this.#fd = openSync(this.#temporary, 'wx', 0o644);
    } catch (error) {
      throw notWritten(path, error);
    }
    this.#guard(() => this.#store(GZIP_HEADER));
  }

  /** Bytes in the file so far; what is not yet compressed is not counted. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** Bytes of text written so far. */
  get textBytes(): number {
    return this.#textBytes + this.text.length;
  }

  write(text: string): void {
    this.text.string(text);
  }

  writeBytes(bytes: Uint8Array, start?: number, end?: number): void {
    this.text.bytes(bytes, start, end);
  }

  mark(): GzipMark {
    this.text.flush();
    return { fileBytes: this.#fileBytes, textBytes: this.#textBytes, crc: this.#crc };
  }

  /** Forgets what was written since `mark`. */
  rollback(mark: GzipMark): void {
    this.#guard(() => ftruncateSync(this.#fd, mark.fileBytes));
    this.text.clear();
    this.#fileBytes = mark.fileBytes;
    this.#textBytes = mark.textBytes;
    this.#crc = mark.crc;
  }

  /** Completes the file and gives it its name. */
  commit(): void {
    this.text.flush();
    this.#guard(() => {
      this.#store(deflateRawSync(new Uint8Array(0)));
      const trailer = Buffer.alloc(8);
      trailer.writeUInt32LE(this.#crc, 0);
      trailer.writeUInt32LE(this.#textBytes % 2 ** 32, 4);
      this.#store(trailer);
      fsyncSync(this.#fd);
      closeSync(this.#fd);
      this.#fd = -1;
      renameSync(this.#temporary, this.path);
      const directory = openSync(dirname(this.path), 'r');
      try {
        fsyncSync(directory);
      } finally {
        closeSync(directory);
      }
    });
  }

  /** Removes the temporary file; nothing after commit(). */
  discard(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
    unlinkSync(this.#temporary);
  }

  /** Parts are compressed on their own and end on a byte, so the file can be cut back to any of them. */
  #compress(part: Uint8Array): void {
    const options = { level: LEVEL, finishFlush: constants.Z_SYNC_FLUSH, chunkSize: COMPRESSED_PART_BYTES };
    this.#guard(() => this.#store(deflateRawSync(part, options)));
    this.#crc = crc32(part, this.#crc);
    this.#textBytes += part.length;
  }

  #store(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at, this.#fileBytes + at);
    this.#fileBytes += bytes.length;
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.#fd >= 0) this.discard();
      else this.#unlinkTemporary();
      throw notWritten(this.path, error);
    }
  }

  #unlinkTemporary(): void {
    try {
      unlinkSync(this.#temporary);
    } catch {
      // Already renamed: the file is complete, only the directory could not be synced.
    }
  }
}

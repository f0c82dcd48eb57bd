// Writes one trace file while the records come in, in a thread of low priority. The caller's thread only posts buffers.
import { Worker } from 'node:worker_threads';
import { invariant, VitrineError } from '../util/errors.js';
import type { CpuProfile } from './cpu-profile.js';
import { CHUNK_HEADER_BYTES, RECORD_BYTES } from './span-layout.js';
import type { SpanChunk, SpanProcess, SpanThread } from './span-source.js';
import type { TraceDocumentOptions, TraceFileInfo } from './trace-document.js';
import type { FromTraceWriter, ToTraceWriter } from './trace-writer-messages.js';

export interface TraceWriterOptions extends TraceDocumentOptions {
  /** Bytes of chunks that may wait for the thread; more are dropped and counted. */
  readonly maxPendingBytes: number;
}

/**
 * open() → addSource() … write() … → finish() or discard(). Every failure (unwritable directory, full disk, a lost
 * thread) is a VitrineError TRACE_NOT_WRITTEN from open() or finish(); no file of that name exists then.
 */
export class TraceWriter {
  readonly #worker: Worker;
  readonly #maxPendingBytes: number;
  readonly #opened = deferred<void>();
  readonly #ended = deferred<TraceFileInfo | undefined>();
  readonly #exited = deferred<void>();
  #failure: VitrineError | undefined;
  #settled = false;
  #sources = 0;
  #pendingBytes = 0;
  #fileBytes = 0;
  #textBytes = 0;
  #droppedWaiting = 0;

  private constructor(options: TraceWriterOptions) {
    this.#maxPendingBytes = options.maxPendingBytes;
    // Not the caller's execArgv: loaders and inspectors are of no use there.
    this.#worker = new Worker(new URL('./trace-writer-thread.js', import.meta.url), {
      name: 'trace-writer',
      execArgv: [],
    });
    this.#ended.promise.catch(() => {});
    this.#worker.on('message', (message: FromTraceWriter) => this.#take(message));
    this.#worker.on('error', (error) => this.#fail(lostThread(options.path, error.message, error)));
    this.#worker.on('exit', (code) => {
      this.#fail(lostThread(options.path, `its thread exited with code ${code}`));
      this.#exited.resolve();
    });
    const { maxPendingBytes: _, ...document } = options;
    this.#post({ kind: 'open', options: document });
  }

  /** Resolves when the directory is there and the temporary file is open. */
  static async open(options: TraceWriterOptions): Promise<TraceWriter> {
    const writer = new TraceWriter(options);
    await writer.#opened.promise;
    return writer;
  }

  /** Bytes of chunks that wait for the thread. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Compressed bytes in the file so far. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  get textBytes(): number {
    return this.#textBytes;
  }

  /** Why the file will not come into being; undefined while all is well. */
  get failure(): VitrineError | undefined {
    return this.#failure;
  }

  /** Registers a producer of records; returns its number for write(). */
  addSource(process: SpanProcess): number {
    this.#post({ kind: 'source', process });
    return this.#sources++;
  }

  /**
   * Hands a chunk over; its buffer moves to the writer. False where its records were dropped, which the trace will say.
   */
  write(source: number, chunk: SpanChunk): boolean {
    invariant(source >= 0 && source < this.#sources, `unknown span source ${source}`);
    const bytes = chunk.records.byteLength;
    const fits = this.#pendingBytes + bytes <= this.#maxPendingBytes;
    if (!fits) this.#droppedWaiting += (bytes - CHUNK_HEADER_BYTES) / RECORD_BYTES;
    // Without its records a chunk still brings names and threads that later ones refer to.
    const records = fits ? chunk.records : chunk.records.slice(0, CHUNK_HEADER_BYTES);
    this.#pendingBytes += records.byteLength;
    this.#post({ kind: 'chunk', source, chunk: { ...chunk, records } }, [records]);
    return fits && this.#failure === undefined;
  }

  /** Adds sampled JavaScript stacks as the track `thread` of process `pid`. */
  writeCpuProfile(pid: number, thread: SpanThread, profile: CpuProfile): void {
    this.#post({ kind: 'cpu-profile', pid, thread, profile });
  }

  /** Completes the file: synced, renamed, readable. */
  async finish(): Promise<TraceFileInfo> {
    if (this.#droppedWaiting > 0) this.#post({ kind: 'dropped', reason: 'slow_writer', count: this.#droppedWaiting });
    this.#post({ kind: 'finish' });
    const info = await this.#end();
    if (info === undefined) throw new VitrineError('ABORTED', 'The trace was discarded.');
    return info;
  }

  /** Gives up the file. */
  async discard(): Promise<void> {
    this.#post({ kind: 'discard' });
    await this.#end().catch(() => {});
  }

  /** The thread is gone when this settles. */
  async #end(): Promise<TraceFileInfo | undefined> {
    await this.#exited.promise;
    return this.#ended.promise;
  }

  #post(message: ToTraceWriter, transfer: ArrayBuffer[] = []): void {
    if (this.#failure === undefined) this.#worker.postMessage(message, transfer);
  }

  #take(message: FromTraceWriter): void {
    switch (message.kind) {
      case 'opened':
        this.#opened.resolve();
        break;
      case 'taken':
        this.#pendingBytes -= message.bytes;
        this.#fileBytes = message.fileBytes;
        this.#textBytes = message.textBytes;
        break;
      case 'finished':
        this.#settled = true;
        this.#ended.resolve(message.info);
        break;
      case 'discarded':
        this.#settled = true;
        this.#ended.resolve(undefined);
        break;
      case 'failed':
        this.#fail(
          new VitrineError(message.code, message.message, message.param === undefined ? {} : { param: message.param }),
        );
    }
  }

  /** The first failure counts; after the end none does. */
  #fail(error: VitrineError): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#failure = error;
    this.#opened.reject(error);
    this.#ended.reject(error);
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve!: Deferred<T>['resolve'];
  let reject!: Deferred<T>['reject'];
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

function lostThread(path: string, reason: string, cause?: Error): VitrineError {
  return new VitrineError('TRACE_NOT_WRITTEN', `The writer of the trace file ${path} was lost: ${reason}.`, { cause });
}

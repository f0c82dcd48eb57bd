// Writes one trace file in a thread of low priority. The caller's thread only copies records into buffers, and keeps those
// until the file is completed or they are many: encoding beside the work that is recorded would slow it down.
import type { Worker } from 'node:worker_threads';
import { invariant, VitrineError } from '../../util/errors.js';
import type { CpuProfile } from '../record/cpu-profile.js';
import { CHUNK_HEADER_BYTES, RECORD_BYTES } from '../record/span-layout.js';
import {
  NO_TABLES,
  type SourceTables,
  type SpanChunk,
  type SpanProcess,
  type SpanThread,
} from '../record/span-source.js';
import { ChunkStage, headerOf, isChunk, STAGE_BYTES } from './chunk-stage.js';
import type { TraceDocumentOptions, TraceFileInfo } from './trace-document.js';
import type { FromTraceWriter, ToTraceWriter } from './trace-writer-messages.js';
import { type TraceWriterThread, TraceWriterThreads } from './trace-writer-threads.js';

/** Bytes of records that are kept from the thread while more may come. */
const HELD_BYTES = 64 << 20;
/** Compressed bytes that a byte of records becomes; measured: 0.27 to 0.33. */
const COMPRESSED_SHARE = 0.3;
/** Buffers kept for the next stages: a thread that lags gives back many at once. */
const MAX_SPARE_BUFFERS = 64;

export interface TraceWriterOptions extends TraceDocumentOptions {
  /** Bytes of records that may wait for the thread; more are dropped and counted. */
  readonly maxPendingBytes: number;
  /** Where its thread comes from and goes back to. Default: a thread of its own, which ends with the file. */
  readonly threads?: TraceWriterThreads;
}

/**
 * open() → addSource() … write() … → finish() or discard(). Every failure (unwritable directory, full disk, a lost
 * thread) is a VitrineError TRACE_NOT_WRITTEN from open() or finish(); no file of that name exists then.
 */
export class TraceWriter {
  readonly #threads: TraceWriterThreads;
  readonly #ownsThreads: boolean;
  readonly #thread: TraceWriterThread;
  readonly #worker: Worker;
  readonly #maxPendingBytes: number;
  readonly #opened = deferred<void>();
  readonly #ended = deferred<TraceFileInfo | undefined>();
  /** The thread has been given back. */
  readonly #released: Promise<void>;
  #failure: VitrineError | undefined;
  #settled = false;
  readonly #stages: ChunkStage[] = [];
  /** Chunks that wait to be handed over, oldest first. */
  #held: { readonly source: number; readonly chunk: SpanChunk; readonly recordBytes: number }[] = [];
  /** Record bytes in the stages, held, and handed over but not taken in. */
  #stagedBytes = 0;
  #heldBytes = 0;
  #postedBytes = 0;
  readonly #spare = (): SharedArrayBuffer => this.#thread.spares.pop() ?? new SharedArrayBuffer(STAGE_BYTES);
  #fileBytes = 0;
  #droppedWaiting = 0;

  private constructor(options: TraceWriterOptions) {
    const { maxPendingBytes, threads, ...document } = options;
    this.#maxPendingBytes = maxPendingBytes;
    this.#threads = threads ?? new TraceWriterThreads();
    this.#ownsThreads = threads === undefined;
    this.#thread = this.#threads.take();
    this.#worker = this.#thread.worker;
    const onMessage = (message: FromTraceWriter) => this.#take(message);
    const onError = (error: Error) => this.#fail(lostThread(options.path, error.message, error));
    const onExit = (code: number) => this.#fail(lostThread(options.path, `its thread exited with code ${code}`));
    this.#worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    this.#released = this.#ended.promise
      .catch(() => {})
      .then(() => {
        this.#worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        return this.#release();
      });
    this.#post({ kind: 'open', options: document });
  }

  /** Resolves when the directory is there and the temporary file is open. */
  static async open(options: TraceWriterOptions): Promise<TraceWriter> {
    const writer = new TraceWriter(options);
    await writer.#opened.promise;
    return writer;
  }

  /** Bytes of records that wait: to be handed over, or for the thread. */
  get pendingBytes(): number {
    return this.#stagedBytes + this.#heldBytes + this.#postedBytes;
  }

  /** Compressed bytes in the file so far. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** Compressed bytes that the file would have if it were completed now, estimated. */
  get expectedFileBytes(): number {
    return this.#fileBytes + Math.round(this.pendingBytes * COMPRESSED_SHARE);
  }

  /** Why the file will not come into being; undefined while all is well. */
  get failure(): VitrineError | undefined {
    return this.#failure;
  }

  /**
   * Registers a producer of records, at any time before finish(); returns its number for write(). Several may share a
   * process and its threads. `tables`: what is known of its names and threads from the start.
   */
  addSource(process: SpanProcess, tables: SourceTables = NO_TABLES): number {
    this.#post({ kind: 'source', process, tables });
    return this.#stages.push(new ChunkStage()) - 1;
  }

  /**
   * Copies a chunk. Chunks are gathered before they go to the thread (see flush()), so that a write costs little more than
   * the copy. False where its records were dropped, which the trace will say.
   */
  write(source: number, chunk: SpanChunk): boolean {
    const stage = this.#stages[source];
    invariant(stage, `unknown span source ${source}`);
    if (this.#failure !== undefined) return false;
    if (!isChunk(chunk.records)) {
      this.#postChunk(source, { ...chunk, records: chunk.records.slice() }); // the thread will say what is wrong with it
      return false;
    }
    const recordBytes = chunk.records.byteLength - CHUNK_HEADER_BYTES;
    const fits = this.pendingBytes + recordBytes <= this.#maxPendingBytes;
    if (!fits) {
      this.#droppedWaiting += recordBytes / RECORD_BYTES;
      // What is kept back takes up the room as well: without this nobody would come to take it.
      this.flush();
    }
    this.#stage(source, stage, fits ? chunk : { ...chunk, records: chunk.records.subarray(0, CHUNK_HEADER_BYTES) });
    return fits;
  }

  /** Hands over all that was written; finish() does so too. */
  flush(): void {
    this.#stages.forEach((stage, source) => {
      this.#hold(stage, source);
    });
    this.#handOver(0);
  }

  /** Adds sampled JavaScript stacks as the track `thread` of process `pid`. */
  writeCpuProfile(pid: number, thread: SpanThread, profile: CpuProfile): void {
    this.#post({ kind: 'cpu-profile', pid, thread, profile });
  }

  /** Completes the file: synced, renamed, readable. `warnings`: what it lacks, and why. */
  async finish(warnings: readonly string[] = []): Promise<TraceFileInfo> {
    this.flush();
    if (this.#droppedWaiting > 0) this.#post({ kind: 'dropped', reason: 'slow_writer', count: this.#droppedWaiting });
    this.#post({ kind: 'finish', warnings });
    const info = await this.#end();
    if (info === undefined) throw new VitrineError('ABORTED', 'The trace was discarded.');
    return info;
  }

  /** Gives up the file; no effect on one that is complete. */
  async discard(): Promise<void> {
    this.#held = [];
    this.#heldBytes = 0;
    this.#post({ kind: 'discard' });
    await this.#end().catch(() => {});
  }

  /** The thread has been given back when this settles. */
  async #end(): Promise<TraceFileInfo | undefined> {
    await this.#released;
    return this.#ended.promise;
  }

  async #release(): Promise<void> {
    await this.#threads.give(this.#thread);
    if (this.#ownsThreads) await this.#threads.close();
  }

  #stage(source: number, stage: ChunkStage, chunk: SpanChunk): void {
    const { byteLength } = chunk.records;
    if (!stage.continues(headerOf(chunk.records))) this.#hold(stage, source);
    let at = CHUNK_HEADER_BYTES;
    let isFirst = true;
    do {
      const end = stage.append(chunk, at, isFirst, this.#spare);
      isFirst = false;
      this.#stagedBytes += end - at;
      at = end;
      if (at < byteLength) this.#hold(stage, source);
    } while (at < byteLength);
  }

  #hold(stage: ChunkStage, source: number): void {
    if (stage.isEmpty) return;
    const { recordBytes } = stage;
    this.#held.push({ source, chunk: stage.take(), recordBytes });
    this.#stagedBytes -= recordBytes;
    this.#heldBytes += recordBytes;
    if (this.#heldBytes > HELD_BYTES) this.#handOver(HELD_BYTES / 2);
  }

  /** Hands over the oldest chunks until no more than `keep` bytes are held. */
  #handOver(keep: number): void {
    let count = 0;
    while (count < this.#held.length && (this.#heldBytes > keep || keep === 0)) {
      const { source, chunk, recordBytes } = this.#held[count++]!;
      this.#heldBytes -= recordBytes;
      this.#postChunk(source, chunk);
    }
    this.#held.splice(0, count);
  }

  #postChunk(source: number, chunk: SpanChunk): void {
    this.#postedBytes += Math.max(0, chunk.records.byteLength - CHUNK_HEADER_BYTES);
    this.#post({ kind: 'chunk', source, chunk });
  }

  #post(message: ToTraceWriter): void {
    // After its end the thread may be at work on another file.
    if (!this.#settled) this.#worker.postMessage(message);
  }

  #take(message: FromTraceWriter): void {
    switch (message.kind) {
      case 'opened':
        this.#thread.spares.push(...message.spares);
        this.#opened.resolve();
        break;
      case 'taken':
        this.#postedBytes -= message.recordBytes;
        if (message.spare !== null && this.#thread.spares.length < MAX_SPARE_BUFFERS) {
          this.#thread.spares.push(message.spare);
        }
        this.#fileBytes = message.fileBytes;
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

// The threads in which trace files are written, kept from one file to the next: a new thread compiles its code anew, in
// V8's own threads, which run at normal priority beside those that serve. Owned by whoever writes several files.
import { Worker } from 'node:worker_threads';

/** Idle threads that are kept. */
const MAX_IDLE = 2;
/** Buffers that an idle thread keeps: their memory has been touched, which new memory has not. */
const MAX_IDLE_SPARES = 16;

export class TraceWriterThread {
  readonly worker: Worker;
  /** Buffers for records that nobody reads any more. */
  readonly spares: SharedArrayBuffer[] = [];
  isGone = false;

  constructor() {
    // Not the caller's execArgv: loaders and inspectors are of no use there.
    this.worker = new Worker(new URL('./trace-writer-thread.js', import.meta.url), {
      name: 'trace-writer',
      execArgv: [],
    });
    this.worker.once('exit', () => {
      this.isGone = true;
    });
    // Who uses the thread hears of its errors as well; without a listener one would end the process.
    this.worker.on('error', () => {});
  }
}

export class TraceWriterThreads {
  readonly #idle: TraceWriterThread[] = [];
  #closed = false;

  take(): TraceWriterThread {
    for (let thread = this.#idle.pop(); thread !== undefined; thread = this.#idle.pop()) {
      if (thread.isGone) continue;
      thread.worker.ref();
      return thread;
    }
    return new TraceWriterThread();
  }

  /** Takes back a thread that has ended its file; resolves when it waits for the next one, or is gone. */
  async give(thread: TraceWriterThread): Promise<void> {
    if (thread.isGone) return;
    if (this.#closed || this.#idle.length >= MAX_IDLE) {
      await thread.worker.terminate();
      return;
    }
    thread.spares.length = Math.min(thread.spares.length, MAX_IDLE_SPARES);
    thread.worker.unref();
    this.#idle.push(thread);
  }

  /** Ends the idle threads; those in use end when they are given back. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#idle.splice(0).map((thread) => thread.worker.terminate()));
  }
}

// One producer of span records whose chunks go to several trace files: keeps its tables, so that a file which is opened
// later gets the names and threads that came before. Runs on the JavaScript thread of the rank.
import type { SourceTables, SpanChunk, SpanProcess, SpanThread } from '../../trace/record/span-source.js';
import type { StepTrace } from './step-trace.js';

interface Receiver {
  readonly trace: StepTrace;
  readonly source: number;
  names: number;
  threads: number;
}

export class SpanFeed {
  readonly #process: SpanProcess;
  readonly #names: string[] = [];
  readonly #threads: SpanThread[] = [];
  readonly #receivers: Receiver[] = [];

  constructor(process: SpanProcess) {
    this.#process = process;
  }

  /** From now on `trace` gets every chunk. */
  attach(trace: StepTrace): void {
    this.#receivers.push({ trace, source: trace.addSource(this.#process), names: 0, threads: 0 });
  }

  detach(trace: StepTrace): void {
    const index = this.#receivers.findIndex((receiver) => receiver.trace === trace);
    if (index >= 0) this.#receivers.splice(index, 1);
  }

  /** Hands a chunk to every file. */
  write({ records, ...tables }: SpanChunk): void {
    this.learn(tables);
    for (const receiver of this.#receivers) this.#hand(receiver, records);
  }

  /** What the tables of later chunks have gained. */
  learn({ names, threads }: SourceTables): void {
    this.#names.push(...names);
    this.#threads.push(...threads);
  }

  /** Hands records to one file, whose tables are known. */
  writeTo(trace: StepTrace, records: Uint8Array): void {
    if (!this.#receivers.some((receiver) => receiver.trace === trace)) this.attach(trace);
    this.#hand(this.#receivers.find((receiver) => receiver.trace === trace)!, records);
  }

  #hand(receiver: Receiver, records: Uint8Array): void {
    receiver.trace.addSpans(receiver.source, {
      records,
      names: this.#names.slice(receiver.names),
      threads: this.#threads.slice(receiver.threads),
    });
    receiver.names = this.#names.length;
    receiver.threads = this.#threads.length;
  }
}

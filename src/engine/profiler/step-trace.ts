// One trace file of forward steps: the engine's own records of each step under an annotation that names it, beside
// whatever other producers add. Runs on the JavaScript thread of the rank; encoding and writing happen in the
// TraceWriter's thread.
import type { SpanTables } from '../../native/addon.js';
import type { CpuProfile } from '../../trace/record/cpu-profile.js';
import { SpanRecorder } from '../../trace/record/span-recorder.js';
import {
  engineTables,
  NO_TABLES,
  type SpanChunk,
  type SpanProcess,
  type SpanThread,
} from '../../trace/record/span-source.js';
import { SpanClock } from '../../trace/trace-clock.js';
import type { TraceFileInfo } from '../../trace/write/trace-document.js';
import { TraceWriter, type TraceWriterOptions } from '../../trace/write/trace-writer.js';
import type { VitrineError } from '../../util/errors.js';
import { FORWARD_MODE, type ForwardMode } from '../forward-batch-layout.js';
import type { StepOutput } from '../step-output.js';

/** The engine's threads stand below those of JavaScript in viewers. */
const ENGINE_SORT_INDEX = 100;
/** Records that are kept back, so that not every step costs a hand-over of its own; and room for one large step. */
const KEPT_RECORDS = 256;
const RECORD_ROOM = 8192;
const MAX_PENDING_BYTES = 256 << 20;

export interface StepTraceOptions extends Omit<TraceWriterOptions, 'maxPendingBytes'> {
  /** Bytes of records that may wait for the writer; more are dropped, which the file says. Default: 256 MiB. */
  readonly maxPendingBytes?: number;
  /** The process that the engine runs in. */
  readonly process: SpanProcess;
  /** Of the engine whose steps are added; its first thread runs the steps. */
  readonly tables: SpanTables;
  /** Leave out the engine's own records: of a step its annotation alone is written. Default: false. */
  readonly withoutEngineSpans?: boolean;
}

/** A step that was run with `profile`. */
export interface TracedStep {
  /** Counted from 1. */
  readonly stepId: number;
  readonly mode: ForwardMode;
  readonly batchSize: number;
  /** Tokens computed, and prompt tokens that were found in the prefix cache instead. */
  readonly tokens: number;
  readonly cachedTokens: number;
  /** Requests that wait for a later step. */
  readonly waiting: number;
  /** Arrows of its requests pass through it. */
  readonly flowIds: readonly number[];
  readonly output: StepOutput;
}

/** Every failure is a VitrineError TRACE_NOT_WRITTEN from open() or finish(); no file of that name exists then. */
export class StepTrace {
  readonly #writer: TraceWriter;
  readonly #engineSource: number;
  readonly #annotationSource: number;
  readonly #clock = new SpanClock();
  readonly #annotations: SpanRecorder;
  readonly #modeNames: Readonly<Record<ForwardMode, number>>;
  readonly #request: number;
  readonly #withoutEngineSpans: boolean;

  private constructor(
    writer: TraceWriter,
    {
      process,
      tables,
      withoutEngineSpans = false,
    }: Pick<StepTraceOptions, 'process' | 'tables' | 'withoutEngineSpans'>,
  ) {
    this.#writer = writer;
    this.#withoutEngineSpans = withoutEngineSpans;
    const engine = engineTables(tables, ENGINE_SORT_INDEX);
    this.#engineSource = writer.addSource(process, engine);
    this.#annotationSource = writer.addSource(process);
    this.#annotations = new SpanRecorder({ capacity: RECORD_ROOM, thread: engine.threads[0]!, clock: this.#clock });
    this.#annotations.start();
    const name = (mode: ForwardMode) => this.#annotations.name(`step (${mode})`);
    this.#request = this.#annotations.name('request');
    this.#modeNames = { extend: name('extend'), decode: name('decode'), mixed: name('mixed') };
  }

  /** Resolves when the directory is there and the temporary file is open. */
  static async open(options: StepTraceOptions): Promise<StepTrace> {
    const { process, tables, withoutEngineSpans, maxPendingBytes = MAX_PENDING_BYTES, ...document } = options;
    const engine = { process, tables, ...(withoutEngineSpans !== undefined && { withoutEngineSpans }) };
    return new StepTrace(await TraceWriter.open({ ...document, maxPendingBytes }), engine);
  }

  /** Compressed bytes that the file would have if it were completed now, estimated. */
  get expectedFileBytes(): number {
    return this.#writer.expectedFileBytes;
  }

  /** Why the file will not come into being; undefined while all is well. */
  get failure(): VitrineError | undefined {
    return this.#writer.failure;
  }

  /**
   * Adds a step: its records, and the annotation `step (MODE)` around them on the engine thread's track, from the
   * output's startNs to its launchedNs: on a GPU the next step's may begin before this one's end. The records begin after
   * startNs, so that they lie inside it. In the order of steps.
   */
  addStep({ stepId, mode, batchSize, tokens, cachedTokens, waiting, flowIds, output }: TracedStep): void {
    if (output.spans !== null && !this.#withoutEngineSpans) {
      this.#writer.write(this.#engineSource, { records: output.spans, ...NO_TABLES });
    }
    const begin = Number(output.startNs - this.#clock.baseNs);
    const end = Number(output.launchedNs - this.#clock.baseNs);
    const name = this.#modeNames[mode];
    const args = [stepId, FORWARD_MODE[mode], batchSize, tokens, cachedTokens, waiting] as const;
    this.#annotations.span(0, 'userAnnotation', name, begin, end, stepId, 'step', ...args);
    for (const id of flowIds) this.#annotations.flowPointAt(0, 'request', this.#request, id, begin);
    if (this.#annotations.pending >= KEPT_RECORDS) this.#flush();
  }

  /** Registers another producer of records; returns its number for addSpans(). */
  addSource(process: SpanProcess): number {
    return this.#writer.addSource(process);
  }

  /** Hands over records of another producer; false where they were dropped, which the file will say. */
  addSpans(source: number, chunk: SpanChunk): boolean {
    return this.#writer.write(source, chunk);
  }

  /** Adds sampled JavaScript stacks as a track of their own. */
  addCpuProfile(pid: number, thread: SpanThread, profile: CpuProfile): void {
    this.#writer.writeCpuProfile(pid, thread, profile);
  }

  /** Completes the file: synced, renamed, readable. `warnings`: what it lacks, and why. */
  finish(warnings: readonly string[] = []): Promise<TraceFileInfo> {
    this.#flush();
    return this.#writer.finish(warnings);
  }

  /** Gives up the file. */
  discard(): Promise<void> {
    return this.#writer.discard();
  }

  #flush(): void {
    const chunk = this.#annotations.drain();
    if (chunk !== undefined) this.#writer.write(this.#annotationSource, chunk);
  }
}

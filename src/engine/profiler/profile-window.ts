// The steps of one trace file: which ones it takes, how many it has, and the file itself. A profile has one window, or
// one a stage. Runs on the JavaScript thread of the rank.
import type { ProfileEnd, ProfileFile, ProfileStage } from '../../messages/profile.js';
import type { TraceFileInfo } from '../../trace/write/trace-document.js';
import type { ForwardMode } from '../forward-batch-layout.js';
import type { MemoryCapture } from './memory-capture.js';
import type { StepTrace, TracedStep } from './step-trace.js';

export class ProfileWindow {
  /** null: steps of every stage. */
  readonly stage: ProfileStage | null;
  /** null: no trace is written. */
  readonly trace: StepTrace | null;
  /** null: no memory snapshot is written. */
  readonly memory: MemoryCapture | null;
  readonly #planned: number;
  /** Steps submitted for it, and those of them that have ended. */
  #claimed = 0;
  #recorded = 0;
  #firstStep: number | null = null;
  #lastStep: number | null = null;
  #endedBy: ProfileEnd | null = null;

  /** `numSteps`: null for any number. */
  constructor(
    stage: ProfileStage | null,
    numSteps: number | null,
    outputs: { readonly trace: StepTrace | null; readonly memory: MemoryCapture | null },
  ) {
    this.stage = stage;
    this.trace = outputs.trace;
    this.memory = outputs.memory;
    this.#planned = numSteps ?? Number.POSITIVE_INFINITY;
  }

  get recorded(): number {
    return this.#recorded;
  }

  /** Why it takes no more steps, or null. */
  get endedBy(): ProfileEnd | null {
    return this.#endedBy;
  }

  /** It takes no more steps, and those it took have ended. */
  get isComplete(): boolean {
    return this.#endedBy !== null && this.#recorded === this.#claimed;
  }

  /** Whether it takes a step of that mode, which is about to be submitted. */
  claim(mode: ForwardMode): boolean {
    if (this.#endedBy !== null || (this.stage !== null && this.stage !== stageOf(mode))) return false;
    this.#claimed += 1;
    if (this.#claimed === this.#planned) this.#endedBy = 'num_steps';
    return true;
  }

  /** A step that it took has ended. */
  add(step: TracedStep): void {
    this.#recorded += 1;
    this.#firstStep ??= step.stepId;
    this.#lastStep = step.stepId;
    this.trace?.addStep(step);
  }

  /** It takes no more steps. */
  end(reason: ProfileEnd): void {
    this.#endedBy ??= reason;
  }

  /** The steps that it took and that have not ended never will. */
  forgetInFlight(): void {
    this.#claimed = this.#recorded;
  }

  /** The account of one of its files. */
  file(kind: ProfileFile['kind'], { path, fileBytes, textBytes, events, droppedRecords }: TraceFileInfo): ProfileFile {
    const steps = { steps: this.#recorded, firstStep: this.#firstStep, lastStep: this.#lastStep };
    return { path, kind, stage: this.stage, ...steps, fileBytes, textBytes, events, droppedRecords };
  }
}

/** Steps with prompt tokens are EXTEND: also mixed ones, as in SGLang. */
function stageOf(mode: ForwardMode): ProfileStage {
  return mode === 'decode' ? 'DECODE' : 'EXTEND';
}

// A rank's half of the profiler without an engine: counts steps, writes small trace files by hand, keeps what the front
// end sends.
import { mkdirSync } from 'node:fs';
import type {
  ProfileEnd,
  ProfileFile,
  ProfileReplyMessage,
  ProfileRequest,
  ProfileRequestMessage,
  ProfileStage,
  ProfileState,
  RankProfile,
} from '#vitrine/messages/profile.js';
import { traceFileName } from '#vitrine/trace/trace-file-name.js';
import { writeTraceFile } from './trace-files.js';

export interface FakeProfilerOptions {
  /** Why a profile is not started. */
  readonly refuse?: (request: ProfileRequest) => RankProfile['error'];
  /** Files are complete only by `complete()`. */
  readonly slow?: boolean;
  /** Makes the files. Default: sound ones. */
  readonly write?: (path: string) => void;
  /** Completing the files fails so. */
  readonly failure?: RankProfile['error'];
}

type Message<Kind> = Extract<ProfileRequestMessage, { kind: Kind }>;

export class FakeProfiler {
  /** All orders to start that came. */
  readonly requests: ProfileRequest[] = [];
  readonly spans: Message<'front-end-spans'>[] = [];
  readonly ends: Message<'front-end-end'>[] = [];
  readonly #send: (message: ProfileReplyMessage) => void;
  readonly #options: FakeProfilerOptions;
  #state: ProfileState = 'done';
  #request: ProfileRequest | null = null;
  #steps = 0;
  /** Number of the first step to record, and steps recorded. */
  #first = 0;
  #recorded = 0;
  #endedBy: ProfileEnd | null = null;
  #files: readonly ProfileFile[] = [];
  #error: RankProfile['error'] = null;
  #stopIds: number[] = [];

  constructor(send: (message: ProfileReplyMessage) => void, options: FakeProfilerOptions = {}) {
    this.#send = send;
    this.#options = options;
  }

  get state(): ProfileState {
    return this.#state;
  }

  onMessage(message: ProfileRequestMessage): void {
    if (message.kind === 'start-profile') this.#start(message);
    else if (message.kind === 'stop-profile') this.#stop(message.id);
    else if (message.kind === 'front-end-spans') this.spans.push(message);
    else this.ends.push(message);
  }

  /** A forward step with this number is done. */
  step(number: number): void {
    this.#steps = number;
    if (this.#state === 'armed' && number >= this.#first) this.#change('recording');
    if (this.#state !== 'recording') return;
    if (this.#recorded === 0) this.#first = number;
    this.#recorded += 1;
    const { numSteps } = this.#request!;
    if (numSteps !== null && this.#recorded === numSteps) this.#flush('num_steps');
  }

  /** Completes the files of a slow one. */
  complete(): void {
    if (this.#state !== 'flushing') throw new Error(`Nothing to complete: ${this.#state}`);
    if (this.#options.failure !== undefined) {
      this.#error = this.#options.failure;
      this.#endedBy = 'error';
      this.#change('failed');
    } else {
      this.#files = this.#write();
      this.#change('done');
    }
    for (const id of this.#stopIds.splice(0)) this.#answer(id);
  }

  #start({ id, request }: Message<'start-profile'>): void {
    this.requests.push(request);
    const error = this.#options.refuse?.(request) ?? this.#makeDirectory(request.outputDir);
    if (error !== null) {
      this.#send({ kind: 'profile-result', id, profile: null, error });
      return;
    }
    this.#request = request;
    this.#first = request.startStep ?? this.#steps + 1 + (request.startIn ?? 0);
    this.#recorded = 0;
    this.#endedBy = null;
    this.#files = [];
    this.#error = null;
    const waits = request.startStep !== null || request.startIn !== null || request.stages !== null;
    this.#state = waits ? 'armed' : 'recording';
    this.#answer(id);
    if (!waits) this.#change('recording');
  }

  #makeDirectory(path: string): RankProfile['error'] {
    try {
      mkdirSync(path, { recursive: true });
      return null;
    } catch (error) {
      return { code: 'TRACE_NOT_WRITTEN', message: `Cannot write to ${path}: ${error}`, param: null };
    }
  }

  #stop(id: number): void {
    if (this.#state === 'done' || this.#state === 'failed') {
      const error = { code: 'PROFILE_CONFLICT', message: 'The rank has nothing to stop.', param: null };
      this.#send({ kind: 'profile-result', id, profile: null, error });
      return;
    }
    this.#stopIds.push(id);
    this.#flush('stop');
  }

  #flush(endedBy: ProfileEnd): void {
    this.#endedBy = endedBy;
    this.#change('flushing');
    if (!this.#options.slow) this.complete();
  }

  #write(): ProfileFile[] {
    if (this.#recorded === 0) return [];
    const { stages } = this.#request!;
    return stages === null ? [this.#writeFile(null)] : stages.map((stage) => this.#writeFile(stage));
  }

  #writeFile(stage: ProfileStage | null): ProfileFile {
    const { outputDir, prefix, profileId } = this.#request!;
    const name = traceFileName({ prefix, profileId, ranks: { tp: 0 }, ...(stage === null ? {} : { stage }) });
    const path = `${outputDir}/${name}`;
    if (this.#options.write !== undefined) this.#options.write(path);
    else {
      const event = { ph: 'X', cat: 'cpu_op', name: 'op', pid: 1, tid: 1, ts: 1, dur: 1 };
      writeTraceFile(outputDir, name, { schemaVersion: 1, baseTimeNanoseconds: 0, traceEvents: [event] });
    }
    return {
      path,
      kind: 'trace',
      stage,
      steps: this.#recorded,
      firstStep: this.#first,
      lastStep: this.#first + this.#recorded - 1,
      fileBytes: 100,
      textBytes: 1000,
      events: 1,
      droppedRecords: 0,
    };
  }

  #account(): RankProfile {
    const { profileId, numSteps, stages } = this.#request!;
    return {
      profileId,
      state: this.#state,
      forwardSteps: this.#steps,
      plannedSteps: numSteps === null ? null : numSteps * (stages?.length ?? 1),
      recordedSteps: this.#recorded,
      endedBy: this.#endedBy,
      warnings: [],
      files: this.#files,
      error: this.#error,
    };
  }

  #change(state: ProfileState): void {
    this.#state = state;
    this.#send({ kind: 'profile-update', profile: this.#account() });
  }

  #answer(id: number): void {
    this.#send({ kind: 'profile-result', id, profile: this.#account(), error: null });
  }
}

// The profiler of one rank: idle → armed → recording → flushing → idle, one profile at a time. It says which steps are
// recorded, and when a profile begins and is over. Runs on the JavaScript thread of the rank.
import type {
  ProfileEnd,
  ProfileFile,
  ProfileRequest,
  ProfileRequestMessage,
  ProfileState,
  RankProfile,
} from '../../messages/profile.js';
import type { CpuProfile } from '../../trace/record/cpu-profile.js';
import type { SpanChunk, SpanProcess } from '../../trace/record/span-source.js';
import { TraceWriterThreads } from '../../trace/write/trace-writer-threads.js';
import { toError, VitrineError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import type { ForwardMode } from '../forward-batch-layout.js';
import { type CaptureDeps, ProfileCapture } from './profile-capture.js';
import type { TracedStep } from './step-trace.js';

type FrontEndStacks = Extract<ProfileRequestMessage, { kind: 'front-end-end' }>['stacks'];

export interface ProfilerSessionDeps extends Omit<CaptureDeps, 'writerThreads'> {
  readonly log: Log;
  /** Hears of every change of state. */
  readonly onUpdate: (profile: RankProfile) => void;
  /** How long to wait for the front end's last records; 0: there is none. */
  readonly frontEndGraceMs: number;
}

/** The profile under way. */
interface Active {
  readonly capture: ProfileCapture;
  readonly firstStep: number;
  readonly finished: Promise<RankProfile>;
  readonly resolve: (profile: RankProfile) => void;
  state: ProfileState;
  timer: NodeJS.Timeout | null;
  frontEndDone: (() => void) | null;
}

export class ProfilerSession {
  readonly #deps: ProfilerSessionDeps & CaptureDeps;
  readonly #writerThreads = new TraceWriterThreads();
  #active: Active | null = null;
  /** Files are being opened: another profile is refused. */
  #opening: Promise<Active> | null = null;
  #closed = false;
  /** Forward steps submitted so far. */
  #steps = 0;

  constructor(deps: ProfilerSessionDeps) {
    this.#deps = { ...deps, writerThreads: this.#writerThreads };
  }

  /**
   * Opens the files and arms the profile or begins to record. Errors: PROFILE_CONFLICT while another one is under way,
   * TRACE_NOT_WRITTEN, INVALID_REQUEST where CUDA is asked for and is not there.
   */
  async start(request: ProfileRequest): Promise<RankProfile> {
    this.#refuseSecond();
    this.#opening = this.#open(request);
    try {
      this.#active = await this.#opening;
    } finally {
      this.#opening = null;
    }
    const active = this.#active;
    if (active.firstStep <= this.#steps + 1) {
      try {
        this.#begin(active);
      } catch (error) {
        await this.#refuse(active, toError(error));
        throw error;
      }
    }
    return this.#describe(active);
  }

  #refuseSecond(): void {
    if (this.#closed) throw new VitrineError('SHUTTING_DOWN', 'The engine is closing.');
    if (this.#opening !== null) {
      throw new VitrineError('PROFILE_CONFLICT', 'Profiling is already in progress: it is being started.');
    }
    if (this.#active === null) return;
    const { capture, state } = this.#active;
    const which = `profile ${capture.request.profileId} is ${state}`;
    throw new VitrineError('PROFILE_CONFLICT', `Profiling is already in progress: ${which}. Call /stop_profile first.`);
  }

  async #open(request: ProfileRequest): Promise<Active> {
    const capture = await ProfileCapture.open(request, this.#deps);
    for (const warning of capture.warnings) this.#deps.log.warn(warning);
    if (this.#closed) {
      await capture.discard();
      throw new VitrineError('SHUTTING_DOWN', 'The engine is closing.');
    }
    let resolve!: Active['resolve'];
    const finished = new Promise<RankProfile>((done) => {
      resolve = done;
    });
    // Counted from here: steps have passed while the files were opened.
    const firstStep = request.startStep ?? this.#steps + 1 + (request.startIn ?? 0);
    return { capture, firstStep, finished, resolve, state: 'armed', timer: null, frontEndDone: null };
  }

  /**
   * Ends the recording (an armed profile is cancelled) and resolves when the files are complete. Error: PROFILE_CONFLICT
   * where no profile is under way.
   */
  async stop(): Promise<RankProfile> {
    const active = this.#active;
    if (active === null) {
      throw new VitrineError('PROFILE_CONFLICT', 'Profiling is not in progress. Call /start_profile first.');
    }
    if (active.state === 'armed') {
      await this.#cancel(active, 'stop');
    } else {
      active.capture.end('stop');
      this.settle();
    }
    return active.finished;
  }

  /** The profile under way; null between profiles. */
  get current(): RankProfile | null {
    return this.#active === null ? null : this.#describe(this.#active);
  }

  // --- steps, as the scheduler submits them and gets them back -----------------------------------------------------

  /** The step with that number is about to be built: an armed profile may begin with it. */
  beforeStep(stepId: number): void {
    const active = this.#active;
    if (active === null || active.state !== 'armed' || stepId < active.firstStep) return;
    try {
      this.#begin(active);
    } catch (error) {
      this.#fail(active, toError(error));
    }
  }

  /** The step is about to be submitted. True: the engine shall record its spans. */
  claim(stepId: number, mode: ForwardMode): boolean {
    this.#steps = stepId;
    const active = this.#active;
    if (active === null || active.state !== 'recording') return false;
    return active.capture.claim(stepId, mode);
  }

  /** A step has ended that was claimed by a profile. */
  isRecorded(stepId: number): boolean {
    return this.#active?.capture.nextStep === stepId;
  }

  /** A step for which isRecorded() is true has ended. */
  add(step: TracedStep): void {
    this.#active!.capture.add(step);
  }

  /** What belonged to the last step is recorded: files that have all their steps are completed. */
  settle(): void {
    const active = this.#active;
    if (active === null || active.state !== 'recording') return;
    const { failure } = active.capture;
    if (failure !== undefined) this.#fail(active, failure);
    else if (active.capture.isOver) void this.#flush(active);
    else active.capture.settle();
  }

  // --- the front end -----------------------------------------------------------------------------------------------

  addFrontEnd(profileId: string, owner: SpanProcess, chunk: SpanChunk): void {
    if (this.#active?.capture.request.profileId === profileId) this.#active.capture.addFrontEnd(owner, chunk);
  }

  /** The front end has sent everything. */
  endFrontEnd(profileId: string, pid: number, stacks: FrontEndStacks): void {
    const active = this.#active;
    if (active?.capture.request.profileId !== profileId) return;
    if (stacks !== null) active.capture.addStacks(pid, stacks.thread, stacks.profile as CpuProfile);
    active.frontEndDone?.();
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  /** The engine ends: no step in flight will come back. Resolves when the files are complete. */
  async close(reason: ProfileEnd): Promise<void> {
    this.#closed = true;
    await this.#opening?.catch(() => {}); // it gives up by itself
    const active = this.#active;
    if (active?.state === 'armed') {
      await this.#cancel(active, reason);
    } else if (active !== null) {
      active.capture.forgetInFlight();
      active.capture.end(reason);
      this.settle();
      active.frontEndDone?.(); // one that is flushing waits no longer
      await active.finished;
    }
    await this.#writerThreads.close();
  }

  #begin(active: Active): void {
    active.capture.begin();
    active.state = 'recording';
    const { profileId, outputDir, maxSeconds } = active.capture.request;
    active.timer = setTimeout(() => this.#expire(active), maxSeconds * 1000).unref();
    this.#deps.log.debug(`Profiling starts. Traces will be saved to: ${outputDir} (with profile id: ${profileId})`);
    this.#deps.onUpdate(this.#describe(active));
  }

  /** One that cannot begin is an error of start() alone; who stops it meanwhile waits until its files are gone. */
  async #refuse(active: Active, error: Error): Promise<void> {
    active.state = 'flushing'; // a step may be built meanwhile, and would begin it again
    active.capture.end('error');
    this.#stopCapture(active.capture);
    await active.capture.discard();
    active.state = 'failed';
    this.#active = null;
    active.resolve(this.#describe(active, [], error));
  }

  #expire(active: Active): void {
    active.capture.end('max_seconds');
    this.settle();
  }

  async #cancel(active: Active, reason: ProfileEnd): Promise<void> {
    active.state = 'flushing';
    active.capture.end(reason);
    await active.capture.discard();
    this.#close(active, { state: 'done', files: [] });
  }

  async #flush(active: Active): Promise<void> {
    active.state = 'flushing';
    if (active.timer !== null) clearTimeout(active.timer);
    const { capture } = active;
    try {
      capture.stop();
      this.#deps.onUpdate(this.#describe(active));
      await this.#frontEnd(active);
      const files = await capture.finish();
      this.#close(active, { state: 'done', files });
    } catch (error) {
      await capture.discard();
      this.#close(active, { state: 'failed', error: toError(error) });
    }
  }

  /** Resolves when the front end has sent its last records, or has had its time. */
  #frontEnd(active: Active): Promise<void> {
    const { frontEndGraceMs } = this.#deps;
    if (frontEndGraceMs === 0 || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, frontEndGraceMs);
      active.frontEndDone = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #fail(active: Active, error: Error): void {
    const { capture } = active;
    active.state = 'flushing';
    if (active.timer !== null) clearTimeout(active.timer);
    capture.forgetInFlight();
    capture.end('error');
    this.#stopCapture(capture);
    void capture.discard().then(() => this.#close(active, { state: 'failed', error }));
  }

  /** Of a profile that has failed already. */
  #stopCapture(capture: ProfileCapture): void {
    try {
      capture.stop();
    } catch (thrown) {
      this.#deps.log.warn(`CUDA's capture did not end: ${toError(thrown).message}`);
    }
  }

  #close(active: Active, end: { state: ProfileState; files?: readonly ProfileFile[]; error?: Error }): void {
    active.state = end.state;
    this.#active = null;
    const profile = this.#describe(active, end.files, end.error);
    const { log, onUpdate } = this.#deps;
    if (end.error !== undefined) log.error(`Profiling failed: ${end.error.message}`);
    else log.debug(`Profiling done. Traces are saved to: ${active.capture.request.outputDir}`);
    onUpdate(profile);
    active.resolve(profile);
  }

  #describe({ capture, state }: Active, files: readonly ProfileFile[] = [], error?: Error): RankProfile {
    const { profileId, numSteps, stages } = capture.request;
    const isOver = state !== 'armed' && state !== 'recording';
    return {
      ...{ profileId, state, forwardSteps: this.#steps, recordedSteps: capture.recordedSteps, files },
      plannedSteps: numSteps === null ? null : numSteps * (stages?.length ?? 1),
      endedBy: isOver ? capture.endedBy : null,
      warnings: [...capture.warnings],
      error: error === undefined ? null : describeError(error),
    };
  }
}

export function describeError(error: Error): NonNullable<RankProfile['error']> {
  const { code, param } = error instanceof VitrineError ? error : { code: 'INTERNAL', param: undefined };
  return { code, message: error.message, param: param ?? null };
}

// Everything that one profile holds while it lasts: its windows and their files, what is recorded beside the steps, and
// the limits. Runs on the JavaScript thread of the rank; see profiler-session.ts for its life.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProfileEnd, ProfileFile, ProfileRequest, ProfileStage } from '../../messages/profile.js';
import type { MemoryInfo, NativeAddon, SpanTables } from '../../native/addon.js';
import type { CpuProfile } from '../../trace/record/cpu-profile.js';
import { CpuSampler, stacksThread } from '../../trace/record/cpu-sampler.js';
import type { SpanChunk, SpanProcess, SpanThread } from '../../trace/record/span-source.js';
import type { TraceFileInfo } from '../../trace/write/trace-document.js';
import type { TraceWriterThreads } from '../../trace/write/trace-writer-threads.js';
import { toError, VitrineError } from '../../util/errors.js';
import type { ForwardMode } from '../forward-batch-layout.js';
import { type DeviceTracing, GpuCapture, gpuProblem, missingGpuWarning, noGpuWarning } from './gpu-capture.js';
import { MemoryCapture } from './memory-capture.js';
import { checkWritable, describeRank, memoryPath, openTrace, type RankIdentity } from './profile-files.js';
import { ProfileWindow } from './profile-window.js';
import type { LoadGauges, RankTracer } from './rank-tracer.js';
import { SpanFeed } from './span-feed.js';
import type { StepTrace, TracedStep } from './step-trace.js';

export interface CaptureDeps extends RankIdentity {
  readonly tables: SpanTables;
  readonly cuda: Pick<NativeAddon, 'cudaProfilerStart' | 'cudaProfilerStop'>;
  /** null: there is no GPU, and the activity of that name adds nothing. */
  readonly deviceTracing: DeviceTracing | null;
  readonly tracer: RankTracer;
  readonly gauges: () => LoadGauges;
  readonly memory: () => MemoryInfo;
  /** Tokens of a KV block. */
  readonly blockSize: number;
  readonly writerThreads: TraceWriterThreads;
}

/** Records of this thread that are kept back before they go to the files. */
const DRAIN_AT = 1024;
/** The front end sends its records at least this often. */
const FRONT_END_DELAY_MS = 500;

export class ProfileCapture {
  readonly request: ProfileRequest;
  readonly #deps: CaptureDeps;
  readonly #windows: readonly ProfileWindow[];
  readonly #feed: SpanFeed;
  readonly #frontEnds = new Map<number, SpanFeed>();
  readonly #sampler: CpuSampler | null;
  /** Steps that are in flight and recorded, oldest first. */
  readonly #inFlight: { readonly stepId: number; readonly window: ProfileWindow }[] = [];
  /** Files that take what is recorded beside the steps. */
  readonly #attached = new Set<StepTrace>();
  /** Files that are being completed. */
  readonly #files = new Map<ProfileWindow, Promise<readonly ProfileFile[]>>();
  /** null: the GPU's work is not recorded. */
  #gpu: GpuCapture | null;
  readonly #warnings: string[];
  #cudaRuns = false;
  #givenUp = false;

  private constructor(
    request: ProfileRequest,
    deps: CaptureDeps,
    { windows, gpu, warnings }: { windows: readonly ProfileWindow[]; gpu: GpuCapture | null; warnings: string[] },
  ) {
    this.request = request;
    this.#gpu = gpu;
    this.#warnings = warnings;
    this.#deps = deps;
    this.#windows = windows;
    this.#feed = new SpanFeed(deps.tracer.process);
    this.#sampler = request.withStack && this.#recordsHost ? new CpuSampler() : null;
  }

  /**
   * Opens the files. Errors: TRACE_NOT_WRITTEN, INVALID_REQUEST where the GPU alone is asked for and cannot be recorded;
   * nothing is left behind then.
   */
  static async open(request: ProfileRequest, deps: CaptureDeps): Promise<ProfileCapture> {
    const { gpu, warnings } = openGpu(request, deps);
    const writes = request.activities.some((activity) => activity === 'CPU' || activity === 'GPU');
    const windows: ProfileWindow[] = [];
    try {
      for (const stage of request.stages ?? [null]) {
        const trace = writes
          ? await openTrace(request, deps, stage, {
              process: deps.tracer.process,
              tables: deps.tables,
              threads: deps.writerThreads,
            })
          : null;
        const memory = request.activities.includes('MEM') ? new MemoryCapture() : null;
        windows.push(new ProfileWindow(stage, request.numSteps, { trace, memory }));
      }
      if (!writes) await checkWritable(request.outputDir);
    } catch (error) {
      await Promise.all(windows.map((window) => window.trace?.discard()));
      throw error;
    }
    return new ProfileCapture(request, deps, { windows, gpu, warnings });
  }

  /** What was asked for and is not recorded, and why. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  get recordedSteps(): number {
    return this.#windows.reduce((sum, window) => sum + window.recorded, 0);
  }

  /** No window takes or waits for another step. */
  get isOver(): boolean {
    return this.#windows.every((window) => window.isComplete);
  }

  /** Why it ended: num_steps where every window has all its steps, else what cut one short. */
  get endedBy(): ProfileEnd | null {
    const reasons = this.#windows.map((window) => window.endedBy);
    return reasons.find((reason) => reason !== 'num_steps') ?? reasons[0]!;
  }

  /** The first file that cannot be written any more. */
  get failure(): VitrineError | undefined {
    return this.#windows.map((window) => window.trace?.failure).find((failure) => failure !== undefined);
  }

  /** Recording begins. Throws VitrineError where CUDA is asked for and is not there. */
  begin(): void {
    if (this.request.activities.includes('CUDA_PROFILER')) {
      try {
        this.#deps.cuda.cudaProfilerStart();
      } catch (thrown) {
        const message = `CUDA_PROFILER is not to be had here: ${toError(thrown).message}`;
        throw new VitrineError('INVALID_REQUEST', message, { param: 'activities', cause: thrown });
      }
      this.#cudaRuns = true;
    }
    this.#startGpu();
    if (!this.#recordsHost) return;
    this.#deps.tracer.start();
    // Files by stage take what is recorded while their own steps run.
    for (const { stage, trace } of this.#windows) if (stage === null && trace !== null) this.#attach(trace);
    this.#sampler?.start();
  }

  /** Whether the step that is about to be submitted is recorded, with the engine's spans. */
  claim(stepId: number, mode: ForwardMode): boolean {
    // Also where the steps of one stage alone are recorded, and others pass.
    if (this.#deps.tracer.pending >= DRAIN_AT) this.#drain();
    const window = this.#windows.find((candidate) => candidate.claim(mode));
    if (window === undefined) return false;
    this.#inFlight.push({ stepId, window });
    if (window.trace === null) return false;
    this.#gpu?.claim(stepId, window.trace);
    if (!this.#recordsHost) return this.#gpu !== null; // work on the GPU gets its names from the engine's spans
    if (!this.#attached.has(window.trace)) this.#attach(window.trace);
    return true;
  }

  /** The oldest recorded step that is in flight. */
  get nextStep(): number | undefined {
    return this.#inFlight[0]?.stepId;
  }

  /** The oldest recorded step has ended. */
  add(step: TracedStep): void {
    const { tracer, gauges } = this.#deps;
    const { window } = this.#inFlight.shift()!;
    window.add(step);
    this.#withGpu((gpu) => gpu.take());
    const load = gauges();
    window.memory?.sample(load);
    tracer.gauges(load);
    if (window.trace !== null && window.trace.expectedFileBytes >= this.request.maxBytes) window.end('max_bytes');
  }

  /** Takes no more steps. */
  end(reason: ProfileEnd): void {
    for (const window of this.#windows) window.end(reason);
  }

  /** The steps in flight will never end. */
  forgetInFlight(): void {
    this.#inFlight.length = 0;
    for (const window of this.#windows) window.forgetInFlight();
  }

  /**
   * Completes the files of windows that are complete while others go on. The front end's last records of a window come a
   * little later, so its file waits that long.
   */
  settle(): void {
    if (this.isOver) return;
    for (const window of this.#windows) {
      if (!window.isComplete || this.#files.has(window)) continue;
      const files = sleep(FRONT_END_DELAY_MS).then(() => this.#finish(window));
      files.catch(() => {}); // finish() tells
      this.#files.set(window, files);
    }
  }

  /** Records of the front end process `owner`. */
  addFrontEnd(owner: SpanProcess, chunk: SpanChunk): void {
    let feed = this.#frontEnds.get(owner.pid);
    if (feed === undefined) {
      feed = new SpanFeed(owner);
      this.#frontEnds.set(owner.pid, feed);
      for (const trace of this.#attached) feed.attach(trace);
    }
    feed.write(chunk);
  }

  /** Sampled stacks of a process, for all files that are open. */
  addStacks(pid: number, thread: SpanThread, profile: CpuProfile): void {
    for (const trace of this.#attached) trace.addCpuProfile(pid, thread, profile);
  }

  /** This thread records no more. Throws where CUDA does not end its capture; all else has ended then. */
  stop(): void {
    this.#takeStacks();
    this.#deps.tracer.stop();
    this.#drain();
    this.#withGpu((gpu) => gpu.finish());
    this.#withGpu((gpu) => gpu.stop());
    this.#gpu = null;
    if (!this.#cudaRuns) return;
    this.#cudaRuns = false;
    this.#deps.cuda.cudaProfilerStop();
  }

  /** Completes the files that are left; after stop(). Error: TRACE_NOT_WRITTEN, once all have been tried. */
  async finish(): Promise<ProfileFile[]> {
    const files = this.#windows.map((window) => this.#files.get(window) ?? this.#finish(window));
    const results = await Promise.allSettled(files);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  }

  /** Gives up the files that are not complete. */
  async discard(): Promise<void> {
    this.#givenUp = true;
    for (const trace of this.#attached) this.#detach(trace);
    await Promise.all(this.#windows.map((window) => window.trace?.discard()));
    await Promise.allSettled(this.#files.values());
  }

  get #recordsHost(): boolean {
    return this.request.activities.includes('CPU');
  }

  #startGpu(): void {
    try {
      this.#gpu?.start();
    } catch (thrown) {
      this.#gpu = null;
      this.#warnings.push(noGpuWarning(toError(thrown).message));
    }
  }

  /** A GPU that fails to tell of its work costs the profile that work and nothing else. */
  #withGpu(call: (gpu: GpuCapture) => void): void {
    if (this.#gpu === null) return;
    try {
      call(this.#gpu);
    } catch (thrown) {
      const warning = missingGpuWarning(toError(thrown).message);
      if (!this.#warnings.includes(warning)) this.#warnings.push(warning); // each step may fail
    }
  }

  /** The files of a window; none where no step of its stage came. */
  async #finish(window: ProfileWindow): Promise<readonly ProfileFile[]> {
    const { trace, memory, stage } = window;
    if (this.#givenUp) return [];
    if (trace !== null) this.#detach(trace);
    this.#withGpu((gpu) => gpu.finish());
    if (stage !== null && window.recorded === 0) {
      await trace?.discard();
      return [];
    }
    const [traced, remembered] = await Promise.allSettled([
      trace === null ? null : trace.finish(this.#warnings),
      memory === null ? null : this.#writeMemory(memory, stage),
    ]);
    if (traced.status === 'rejected') throw traced.reason;
    if (remembered.status === 'rejected') throw remembered.reason;
    return [
      ...(traced.value === null ? [] : [window.file('trace', traced.value)]),
      ...(remembered.value === null ? [] : [window.file('memory', remembered.value)]),
    ];
  }

  async #writeMemory(memory: MemoryCapture, stage: ProfileStage | null): Promise<TraceFileInfo> {
    const { tracer, memory: info, gauges, blockSize, writerThreads } = this.#deps;
    const { metadata: _, ...description } = describeRank(this.request, this.#deps, stage);
    const file = {
      path: memoryPath(this.request, this.#deps, stage),
      process: tracer.process,
      threads: writerThreads,
      ...description,
    };
    return memory.write(file, info(), gauges(), blockSize);
  }

  /** What was recorded before belongs to the files that were open then. */
  #attach(trace: StepTrace): void {
    this.#drain();
    this.#attached.add(trace);
    for (const feed of [this.#feed, ...this.#frontEnds.values()]) feed.attach(trace);
  }

  #detach(trace: StepTrace): void {
    if (!this.#attached.has(trace)) return;
    this.#takeStacks();
    this.#drain();
    this.#attached.delete(trace);
    for (const feed of [this.#feed, ...this.#frontEnds.values()]) feed.detach(trace);
  }

  #drain(): void {
    const chunk = this.#deps.tracer.drain();
    if (chunk !== undefined) this.#feed.write(chunk);
  }

  /** The stacks so far go to the files that are open; sampling goes on while there is something to record. */
  #takeStacks(): void {
    if (!this.#sampler?.running) return;
    const { pid } = this.#deps.tracer.process;
    this.addStacks(pid, stacksThread(pid, 'scheduler'), this.#sampler.stop());
    if (!this.isOver) this.#sampler.start();
  }
}

/** As torch's profiler does, a GPU that cannot be recorded is a warning while there is something else to record. */
function openGpu(request: ProfileRequest, { deviceTracing, tracer }: CaptureDeps) {
  const nothing: { gpu: GpuCapture | null; warnings: string[] } = { gpu: null, warnings: [] };
  if (deviceTracing === null || !request.activities.includes('GPU')) return nothing;
  const problem = gpuProblem(deviceTracing);
  if (problem === null) return { gpu: new GpuCapture(deviceTracing, tracer.process), warnings: [] };
  if (request.activities.every((activity) => activity === 'GPU')) {
    throw new VitrineError('INVALID_REQUEST', noGpuWarning(problem), { param: 'activities' });
  }
  return { gpu: null, warnings: [noGpuWarning(problem)] };
}

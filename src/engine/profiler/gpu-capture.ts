// What the GPU does in the recorded steps of a profile: kernels, copies and the calls that queued them come from the engine
// some time after their step, and go to the file that the step belongs to. Runs on the JavaScript thread of the rank.
import type { DeviceTraceBatch, NativeEngine, SpanTables } from '../../native/addon.js';
import type { SpanProcess, SpanThread } from '../../trace/record/span-source.js';
import { GPU_SORT_INDEX } from '../../trace/trace-event.js';
import { toError } from '../../util/errors.js';
import { SpanFeed } from './span-feed.js';
import type { StepTrace } from './step-trace.js';

/** The part of an engine on a GPU that records its work. */
export type DeviceTracing = Pick<
  NativeEngine,
  'checkDeviceTrace' | 'startDeviceTrace' | 'takeDeviceTrace' | 'finishDeviceTrace' | 'stopDeviceTrace'
>;

/** Why the GPU's work cannot be recorded now; null where it can. */
export function gpuProblem(tracing: DeviceTracing): string | null {
  try {
    tracing.checkDeviceTrace();
    return null;
  } catch (thrown) {
    return toError(thrown).message;
  }
}

export const noGpuWarning = (reason: string) => `The GPU's work is not recorded: ${reason}.`;

export const missingGpuWarning = (reason: string) => `Work of the GPU is missing: ${reason}.`;

export class GpuCapture {
  readonly #tracing: DeviceTracing;
  readonly #host: SpanFeed;
  #device: SpanFeed | null = null;
  /** Where the records of steps go that have not come yet. */
  readonly #traces = new Map<number, StepTrace>();
  #recording = false;

  /** `process`: the one that the engine runs in. */
  constructor(tracing: DeviceTracing, process: SpanProcess) {
    this.#tracing = tracing;
    this.#host = new SpanFeed(process);
  }

  /** Blocks for the steps that are queued. Throws Error with the reason. */
  start(): void {
    this.#tracing.startDeviceTrace();
    this.#recording = true;
  }

  /** The step is about to be submitted, to be recorded for a file. */
  claim(stepId: number, trace: StepTrace): void {
    if (this.#recording) this.#traces.set(stepId, trace);
  }

  /** Writes what has come. */
  take(): void {
    if (this.#recording) this.#write(this.#tracing.takeDeviceTrace());
  }

  /** Writes all that is left of the steps that have ended. Blocks for the steps that are queued. */
  finish(): void {
    if (this.#recording) this.#write(this.#tracing.finishDeviceTrace());
  }

  stop(): void {
    if (!this.#recording) return;
    this.#recording = false;
    this.#traces.clear();
    this.#tracing.stopDeviceTrace();
  }

  #write({ device, hostTables, deviceTables, steps }: DeviceTraceBatch): void {
    if (steps.length === 0) return;
    this.#device ??= new SpanFeed({ pid: device, name: `GPU ${device}`, sortIndex: GPU_SORT_INDEX + device });
    this.#host.learn(withThreads(hostTables));
    this.#device.learn(withThreads(deviceTables));
    for (const step of steps) {
      const trace = this.#traces.get(step.stepId);
      this.#traces.delete(step.stepId);
      if (trace === undefined) continue;
      this.#host.writeTo(trace, step.host);
      this.#device.writeTo(trace, step.device);
    }
  }
}

const withThreads = ({ names, threads }: SpanTables) => ({
  names,
  threads: threads.map(({ tid, name }): SpanThread => ({ tid, name, sortIndex: tid })),
});

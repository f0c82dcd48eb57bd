// What the rank's JavaScript thread adds to a trace: phases of the scheduler, counters after each step, the points of
// request arrows. Off costs next to nothing.
import type { NativeAddon } from '../native/addon.js';
import { SpanRecorder } from '../trace/span-recorder.js';
import type { SpanChunk, SpanProcess, SpanThread } from '../trace/span-source.js';
import { SpanClock } from '../trace/trace-clock.js';

/** SGLang's names of the phases of its scheduler loop. */
export const PHASES = [
  'recv_requests',
  'get_next_batch_to_run',
  'run_batch',
  'process_batch_result',
  'send_outputs',
] as const;
export type Phase = (typeof PHASES)[number];

/** State of the KV cache and the queues, for counters. */
export interface LoadGauges {
  readonly usedTokens: number;
  readonly cachedTokens: number;
  readonly freeTokens: number;
  readonly running: number;
  readonly waiting: number;
}

export interface RankTracerOptions {
  readonly process: SpanProcess;
  /** Emits phases as NVTX ranges too; null: not. */
  readonly nvtx: Pick<NativeAddon, 'rangePush' | 'rangePop'> | null;
  /** The thread that runs the steps. */
  readonly engineThread: SpanThread;
}

/** Records that may wait for drain(): 2 MiB. */
const CAPACITY = 32_768;
const RESIDENT_INTERVAL_NS = 100e6;

export class RankTracer {
  readonly process: SpanProcess;
  readonly thread: SpanThread;
  readonly #recorder: SpanRecorder;
  readonly #clock = new SpanClock();
  readonly #nvtx: RankTracerOptions['nvtx'];
  readonly #engineTrack: number;
  readonly #phases: Readonly<Record<Phase, number>>;
  readonly #request: number;
  readonly #cache: number;
  readonly #queues: number;
  readonly #memory: number;
  #residentAt = 0;

  constructor({ process: owner, nvtx, engineThread }: RankTracerOptions) {
    this.process = owner;
    // Of a process's first thread, which runs JavaScript, the kernel's thread id is the process id.
    this.thread = { tid: owner.pid, name: 'scheduler', sortIndex: 10 };
    this.#recorder = new SpanRecorder({ capacity: CAPACITY, thread: this.thread, clock: this.#clock });
    this.#nvtx = nvtx;
    this.#engineTrack = this.#recorder.addThread(engineThread);
    const name = (text: string) => this.#recorder.name(text);
    this.#phases = Object.fromEntries(PHASES.map((phase) => [phase, name(phase)])) as Record<Phase, number>;
    this.#request = name('request');
    this.#cache = name('kv cache tokens');
    this.#queues = name('requests');
    this.#memory = name('process memory');
  }

  get enabled(): boolean {
    return this.#recorder.enabled;
  }

  /** Records waiting for drain(). */
  get pending(): number {
    return this.#recorder.pending;
  }

  start(): void {
    this.#residentAt = 0;
    this.#recorder.start();
  }

  stop(): void {
    this.#recorder.stop();
  }

  drain(): SpanChunk | undefined {
    return this.#recorder.drain();
  }

  /** Does `work` inside a phase. */
  phase<T>(phase: Phase, work: () => T): T {
    this.#nvtx?.rangePush(phase);
    const mark = this.#recorder.begin('scheduler', this.#phases[phase]);
    try {
      return work();
    } finally {
      this.#recorder.end(mark);
      this.#nvtx?.rangePop();
    }
  }

  /** A request's arrow passes through the phase that is open. */
  requestHere(flowId: number): void {
    if (this.#recorder.enabled) this.#recorder.flowPoint('request', this.#request, flowId);
  }

  /** The arrows of a step's requests pass through it; `startNs`: where its annotation begins. */
  requestsInStep(flowIds: readonly number[], startNs: bigint): void {
    if (!this.#recorder.enabled) return;
    const at = Number(startNs - this.#clock.baseNs);
    for (const id of flowIds) this.#recorder.flowPointAt(this.#engineTrack, 'request', this.#request, id, at);
  }

  /** Counter values of now. */
  gauges({ usedTokens, cachedTokens, freeTokens, running, waiting }: LoadGauges): void {
    const recorder = this.#recorder;
    if (!recorder.enabled) return;
    recorder.counter(this.#cache, 'cacheUse', usedTokens, cachedTokens, freeTokens);
    recorder.counter(this.#queues, 'queueUse', running, waiting);
    const now = recorder.now();
    if (now - this.#residentAt < RESIDENT_INTERVAL_NS) return;
    this.#residentAt = now;
    recorder.counter(this.#memory, 'processMemory', process.memoryUsage.rss());
  }
}

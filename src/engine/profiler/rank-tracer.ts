// What the rank's JavaScript thread adds to a trace: phases of the scheduler, the arrival of requests, counters after each
// step. Off costs next to nothing.
import type { NativeAddon } from '../../native/addon.js';
import { SpanRecorder } from '../../trace/record/span-recorder.js';
import type { SpanChunk, SpanProcess, SpanThread } from '../../trace/record/span-source.js';

/** SGLang's names of the phases of its scheduler loop. */
export const PHASES = [
  'recv_requests',
  'get_next_batch_to_run',
  'run_batch',
  'process_batch_result',
  'send_outputs',
] as const;
export type Phase = (typeof PHASES)[number];

/** State of the KV cache and the queues, for counters. The three kinds of tokens add up to the cache's size. */
export interface LoadGauges {
  /** In blocks of running requests. */
  readonly usedTokens: number;
  /** In the prefix cache and of no running request. */
  readonly cachedTokens: number;
  readonly freeTokens: number;
  readonly running: number;
  readonly waiting: number;
}

export interface RankTracerOptions {
  readonly process: SpanProcess;
  /** Emits phases as NVTX ranges too; null: not. */
  readonly nvtx: Pick<NativeAddon, 'rangePush' | 'rangePop'> | null;
}

/** Records that may wait for drain(): 2 MiB. */
const CAPACITY = 32_768;
const RESIDENT_INTERVAL_NS = 100e6;

export class RankTracer {
  readonly process: SpanProcess;
  readonly thread: SpanThread;
  readonly #recorder: SpanRecorder;
  readonly #nvtx: RankTracerOptions['nvtx'];
  readonly #phases: Readonly<Record<Phase, number>>;
  readonly #request: number;
  readonly #cache: number;
  readonly #queues: number;
  readonly #memory: number;
  #residentAt = 0;

  constructor({ process: owner, nvtx }: RankTracerOptions) {
    this.process = owner;
    // Of a process's first thread, which runs JavaScript, the kernel's thread id is the process id.
    this.thread = { tid: owner.pid, name: 'scheduler', sortIndex: 10 };
    this.#recorder = new SpanRecorder({ capacity: CAPACITY, thread: this.thread });
    this.#nvtx = nvtx;
    const name = (text: string) => this.#recorder.name(text);
    this.#phases = Object.fromEntries(PHASES.map((phase) => [phase, name(phase)])) as Record<Phase, number>;
    this.#request = name('request');
    this.#cache = name('kv cache tokens');
    this.#queues = name('requests');
    this.#memory = name('process memory');
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

// Samples the JavaScript stack of the calling thread with V8's CPU profiler.
import { Session } from 'node:inspector';
import { monotonicNs } from '../../util/clock.js';
import { VitrineError } from '../../util/errors.js';
import type { CpuProfile, V8Profile } from './cpu-profile.js';
import type { SpanThread } from './span-source.js';

/**
 * 25 samples a second. Each wakes two threads, also while the sampled one sleeps, and so takes a core away from threads
 * that compute: at V8's usual 1 ms that cost a tenth of the throughput of two cores.
 */
const SAMPLING_INTERVAL_US = 40_000;

/** Samples are a track of their own; its number lies above every thread id of Linux (2^22 at most). */
const STACKS_TID = 2 ** 22;
const STACKS_SORT_INDEX = 1000;

/** The track of the stacks of a process's JavaScript thread, which is called `name`. */
export function stacksThread(pid: number, name: string): SpanThread {
  return { tid: STACKS_TID + pid, name: `stacks of ${name}`, sortIndex: STACKS_SORT_INDEX };
}

/** One recording at a time per instance. start() and stop() take milliseconds on the calling thread: V8's own work. */
export class CpuSampler {
  #session: Session | undefined;
  #startedBetweenNs: readonly [bigint, bigint] = [0n, 0n];

  get running(): boolean {
    return this.#session !== undefined;
  }

  /** Throws VitrineError INVALID_REQUEST where this sampler runs already. `intervalUs`: time between samples. */
  start(intervalUs = SAMPLING_INTERVAL_US): void {
    if (this.#session !== undefined)
      throw new VitrineError('INVALID_REQUEST', 'JavaScript stacks are being sampled already.');
    const session = new Session();
    session.connect();
    this.#session = session;
    try {
      this.#call('Profiler.enable');
      this.#call('Profiler.setSamplingInterval', { interval: intervalUs });
      const before = monotonicNs();
      this.#call('Profiler.start');
      this.#startedBetweenNs = [before, monotonicNs()];
    } catch (error) {
      this.#disconnect();
      throw error;
    }
  }

  /** The samples since start(). Throws VitrineError INVALID_REQUEST where nothing runs. */
  stop(): CpuProfile {
    if (this.#session === undefined)
      throw new VitrineError('INVALID_REQUEST', 'JavaScript stacks are not being sampled.');
    try {
      const { profile } = this.#call('Profiler.stop') as { profile: V8Profile };
      return { profile, clockOffsetNs: this.#clockOffsetNs(profile.startTime * 1000) };
    } finally {
      this.#disconnect();
    }
  }

  /** V8 stamps with CLOCK_MONOTONIC, cut to microseconds; where a platform does otherwise, the start is aligned. */
  #clockOffsetNs(startNs: number): number {
    const [before, after] = this.#startedBetweenNs;
    const late = Number(before) - startNs;
    const early = Number(after) - startNs;
    if (late <= 1000 && early >= -1000) return 0;
    return Math.round((late + early) / 2);
  }

  /** Profiler commands on the own thread answer before post() returns. */
  #call(method: string, params: object = {}): unknown {
    let reply: unknown;
    let failure: Error | null = null;
    this.#session!.post(method, params, (error, result) => {
      failure = error;
      reply = result;
    });
    if (failure !== null) {
      throw new VitrineError('INTERNAL', `V8 refused ${method}: ${JSON.stringify(failure)}`);
    }
    return reply;
  }

  #disconnect(): void {
    this.#session?.disconnect();
    this.#session = undefined;
  }
}

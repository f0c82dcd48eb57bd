// What the steps so far had to read and compute at least, and the time they took, by what kind of step they were.
import type { PhaseWork, StepWorkTotals } from '../messages/control.js';
import type { StepWork } from '../model/step-work.js';
import type { ScheduleBatch } from './schedule-batch.js';

type Sums = { -readonly [K in keyof PhaseWork]: PhaseWork[K] };

export class WorkTally {
  readonly #work: StepWork;
  readonly #sums = { extend: none(), decode: none(), mixed: none() };

  constructor(work: StepWork) {
    this.#work = work;
  }

  stepDone(batch: ScheduleBatch, seconds: number): void {
    const { flops, float8Flops, bytes } = this.#work.of(batch.counts, batch.ends, batch.logitRows);
    const sums = this.#sums[batch.mode];
    sums.steps += 1;
    sums.seconds += seconds;
    sums.flops += flops;
    sums.float8Flops += float8Flops;
    sums.bytes += bytes;
  }

  get totals(): StepWorkTotals {
    const { extend, decode, mixed } = this.#sums;
    return { extend: { ...extend }, decode: { ...decode }, mixed: { ...mixed } };
  }
}

const none = (): Sums => ({ steps: 0, seconds: 0, flops: 0, float8Flops: 0, bytes: 0 });

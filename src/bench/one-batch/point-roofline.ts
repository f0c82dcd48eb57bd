// The least work of a point's phases, beside the machine's limits.
import type { StepWork } from '../../model/step-work.js';
import type { DType, MachineLimits } from '../../native/addon.js';
import { type Roofline, rooflineOf } from '../roofline/roofline.js';

export interface RooflineRow {
  readonly prefill: Roofline;
  /** Of the median decode step; absent when there is none. */
  readonly decode?: Roofline;
}

export class PointRoofline {
  constructor(
    private readonly work: StepWork,
    private readonly limits: MachineLimits,
    private readonly dtype: DType,
  ) {}

  /** Of a prefill step over whole prompts. */
  prefill(promptLens: readonly number[], seconds: number): Roofline {
    return rooflineOf(this.work.of(promptLens, promptLens), seconds, this.limits, this.dtype);
  }

  /** Of a decode step in the middle of so many. */
  decode(promptLens: readonly number[], steps: number, seconds: number): Roofline {
    const lengths = promptLens.map((promptLen) => promptLen + Math.ceil(steps / 2));
    const counts = promptLens.map(() => 1);
    return rooflineOf(this.work.of(counts, lengths), seconds, this.limits, this.dtype);
  }
}

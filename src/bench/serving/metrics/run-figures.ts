// Everything that is computed of one run.
import { computeGoodput, type Goodput, type Objectives } from './goodput.js';
import type { MeasuredRun } from './measured-run.js';
import { computeMetrics, type Metrics } from './metrics.js';
import { type NoSteadyState, type SteadyState, steadyState } from './steady-state.js';

export interface FigureSettings {
  /** Of --goodput. */
  readonly objectives: Objectives | undefined;
  /** Of --steady-state. */
  readonly steadyState: boolean;
}

export interface RunFigures {
  readonly run: MeasuredRun;
  readonly metrics: Metrics;
  /** undefined where they were not asked for. */
  readonly goodput: Goodput | undefined;
  readonly steadyState: SteadyState | NoSteadyState | undefined;
}

export function computeFigures(run: MeasuredRun, { objectives, steadyState: isAsked }: FigureSettings): RunFigures {
  return {
    run,
    metrics: computeMetrics(run),
    goodput: objectives && computeGoodput(run, objectives, run.duration),
    steadyState: isAsked ? steadyState(run, objectives) : undefined,
  };
}

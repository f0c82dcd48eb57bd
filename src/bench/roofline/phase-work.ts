// What an engine's steps had to read and compute during a run, from its counters before and after: the roofline of each phase.
import type { DType, MachineLimits } from '../../native/addon.js';
import { describeRoofline, type Roofline, rooflineOf } from './roofline.js';

const KINDS = { extend: 'Prefill', decode: 'Decode', mixed: 'Mixed' } as const;

type StepKind = keyof typeof KINDS;

interface Counters {
  readonly steps: number;
  readonly seconds: number;
  readonly flops: number;
  readonly float8Flops: number;
  readonly bytes: number;
}

export interface WorkCounters {
  readonly dtype: DType;
  readonly counters: Readonly<Record<StepKind, Counters>>;
}

/** Figures of the steps of one kind. */
export interface PhaseFigures {
  readonly steps: number;
  /** The time that they took. */
  readonly seconds: number;
  readonly bytes_per_second: number;
  readonly flops_per_second: number;
  /** null where the limits of the server's machine are not known. */
  readonly roofline: Roofline | null;
}

/** By kind; kinds without steps are left out. */
export type PhaseWork = Partial<Readonly<Record<StepKind, PhaseFigures>>>;

/** undefined for a server that does not count. */
export function readWorkCounters(info: unknown): WorkCounters | undefined {
  const facts = info as { dtype?: unknown; internal_states?: readonly { step_work?: unknown }[] } | null;
  const work = facts?.internal_states?.[0]?.step_work as Record<string, Counters> | undefined;
  const { dtype } = facts ?? {};
  if (work === undefined || (dtype !== 'float32' && dtype !== 'float16' && dtype !== 'bfloat16')) return undefined;
  const isCounted = (kind: string): boolean => typeof work[kind]?.float8Flops === 'number';
  if (!Object.keys(KINDS).every(isCounted)) return undefined;
  return { dtype, counters: work as unknown as WorkCounters['counters'] };
}

/** The steps between two readings. `limits`: of the server's machine. */
export function workBetween(before: WorkCounters, after: WorkCounters, limits: MachineLimits | undefined): PhaseWork {
  const result: Partial<Record<StepKind, PhaseFigures>> = {};
  for (const kind of Object.keys(KINDS) as StepKind[]) {
    const [from, to] = [before.counters[kind], after.counters[kind]];
    const steps = to.steps - from.steps;
    const seconds = to.seconds - from.seconds;
    if (steps <= 0 || seconds <= 0) continue;
    const work = {
      flops: to.flops - from.flops,
      float8Flops: to.float8Flops - from.float8Flops,
      bytes: to.bytes - from.bytes,
    };
    result[kind] = {
      ...{ steps, seconds, bytes_per_second: work.bytes / seconds, flops_per_second: work.flops / seconds },
      roofline: limits === undefined ? null : rooflineOf(work, seconds, limits, after.dtype),
    };
  }
  return result;
}

export function renderPhaseWork(kinds: PhaseWork): string[] {
  return (Object.entries(kinds) as [StepKind, PhaseFigures][]).map(([kind, figures]) => {
    const { steps, seconds, bytes_per_second: bytes, flops_per_second: flops, roofline } = figures;
    const reached = `${(bytes / 1e9).toPrecision(3)} GB/s, ${(flops / 1e9).toPrecision(3)} GFLOP/s`;
    const name = `${KINDS[kind]} steps: ${steps} in ${seconds.toFixed(2)} s`;
    return `${name}, ${roofline === null ? reached : describeRoofline(roofline)}`;
  });
}

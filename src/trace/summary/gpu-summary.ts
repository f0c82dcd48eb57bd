// What the GPUs of a trace did: which modules their time went to and what those reached, and when they had nothing to do.
import { decode, type Interval, type LoadedTrace } from '../read/trace-loader.js';
import { totalOf, unionOf } from './interval-set.js';

export interface GpuTotals {
  /** Time in which a GPU worked, over all of them, ns. */
  readonly busy: number;
  /** From the first work to the last on each of them. */
  readonly span: number;
  readonly modules: readonly GpuModule[];
  /** Lengths of the idle times between the work of one step and that of the next. */
  readonly stepGaps: readonly number[];
}

export interface GpuModule {
  /** With `*` for the number of the layer; of work without a module its op, else the kernel's own name. */
  readonly name: string;
  calls: number;
  /** ns. */
  total: number;
  /** GB/s and TFLOP/s of the work that says what it reached. */
  readonly bandwidth: TimeMean;
  readonly flops: TimeMean;
  readonly kernels: Map<number, { calls: number; total: number }>;
}

/** A mean over time. */
export class TimeMean {
  #sum = 0;
  #ns = 0;

  /** NaN is left out. */
  add(value: number, ns: number): void {
    if (Number.isNaN(value)) return;
    this.#sum += value * ns;
    this.#ns += ns;
  }

  /** null: of nothing. */
  get value(): number | null {
    return this.#ns > 0 ? this.#sum / this.#ns : null;
  }
}

const LAYER_NUMBER = /\blayers\.\d+\b/;
/** The rank that a merged trace writes before a process. */
const RANK_LABEL = /^"(\[[^\]]*\]) /;

/** Work and the index of its step; -1: not known. */
interface StepWork extends Interval {
  readonly step: number;
}

/** `steps`: rows of steps, none inside another. */
export function gpuTotals(trace: LoadedTrace, steps: readonly number[]): GpuTotals {
  let busy = 0;
  let span = 0;
  const stepGaps: number[] = [];
  for (const works of workByDevice(trace, steps)) {
    const union = unionOf(works);
    busy += totalOf(union);
    if (union.length > 0) span += union.at(-1)!.end - union[0]!.begin;
    stepGaps.push(...gapsBetweenSteps(works));
  }
  return { busy, span, modules: moduleTotals(trace), stepGaps };
}

function moduleTotals({ spans, names, gpuWork }: LoadedTrace): GpuModule[] {
  const modules = new Map<string, GpuModule>();
  for (const { row, module, op, bandwidth, flops } of gpuWork) {
    const kernelName = spans.name[row]!;
    const ns = spans.duration[row]!;
    const name = decode(module || op || names[kernelName]!).replace(LAYER_NUMBER, 'layers.*');
    let total = modules.get(name);
    if (total === undefined) {
      total = { name, calls: 0, total: 0, bandwidth: new TimeMean(), flops: new TimeMean(), kernels: new Map() };
      modules.set(name, total);
    }
    total.calls++;
    total.total += ns;
    total.bandwidth.add(bandwidth, ns);
    total.flops.add(flops, ns);
    const kernel = total.kernels.get(kernelName) ?? { calls: 0, total: 0 };
    kernel.calls++;
    kernel.total += ns;
    total.kernels.set(kernelName, kernel);
  }
  return [...modules.values()];
}

/** The work of each device in the order of its begin. */
function workByDevice(trace: LoadedTrace, steps: readonly number[]): StepWork[][] {
  const { spans, tracks, gpuWork } = trace;
  const rankOf = (row: number) => RANK_LABEL.exec(tracks[spans.track[row]!]!.pid)?.[1] ?? '';
  const stepOf = stepFinder(trace, steps, rankOf);
  const byDevice = new Map<string, StepWork[]>();
  for (const work of gpuWork) {
    const { row } = work;
    const begin = spans.begin[row]!;
    const entry = { begin, end: begin + spans.duration[row]!, step: stepOf(work) };
    const device = tracks[spans.track[row]!]!.pid;
    const list = byDevice.get(device);
    if (list) list.push(entry);
    else byDevice.set(device, [entry]);
  }
  return [...byDevice.values()].map((works) => works.sort((a, b) => a.begin - b.begin));
}

function gapsBetweenSteps(works: readonly StepWork[]): number[] {
  const gaps: number[] = [];
  let until = Number.NEGATIVE_INFINITY;
  let last = -1;
  for (const { begin, end, step } of works) {
    if (step !== last && last >= 0 && step >= 0) gaps.push(Math.max(0, begin - until));
    until = Math.max(until, end);
    last = step;
  }
  return gaps;
}

/** The step in whose time work was queued, as its index; -1: not known. */
function stepFinder({ spans, calls }: LoadedTrace, steps: readonly number[], rankOf: (row: number) => string) {
  const sorted = steps.toSorted((a, b) => spans.begin[a]! - spans.begin[b]!);
  const callAt = new Map(calls.map(({ row, correlation }) => [`${rankOf(row)} ${correlation}`, spans.begin[row]!]));
  return ({ row, correlation }: LoadedTrace['gpuWork'][number]): number => {
    const at = callAt.get(`${rankOf(row)} ${correlation}`);
    if (at === undefined) return -1;
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans.begin[sorted[middle]!]! <= at) low = middle + 1;
      else high = middle;
    }
    const step = sorted[low - 1];
    return step !== undefined && at <= spans.begin[step]! + spans.duration[step]! ? low - 1 : -1;
  };
}

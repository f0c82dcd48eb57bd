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
  /** Means over the time of work that says what it reached; null where none does. */
  bandwidth: number | null;
  flops: number | null;
  readonly kernels: Map<number, { calls: number; total: number }>;
}

const LAYER_NUMBER = /\blayers\.\d+\b/;
/** The rank that a merged trace writes before a process. */
const RANK_LABEL = /^"(\[[^\]]*\]) /;

/** `steps`: rows of steps, none inside another. */
export function gpuTotals(trace: LoadedTrace, steps: readonly number[]): GpuTotals {
  const { spans, tracks, gpuWork } = trace;
  const rankOf = (row: number) => RANK_LABEL.exec(tracks[spans.track[row]!]!.pid)?.[1] ?? '';
  const endOf = (row: number) => spans.begin[row]! + spans.duration[row]!;
  const stepOf = stepFinder(trace, steps, rankOf);
  const modules = new Map<string, GpuModule & { rated: [number, number, number, number] }>();
  const byDevice = new Map<string, { readonly row: number; readonly step: number }[]>();
  for (const work of gpuWork) {
    const { row, module, op, bandwidth, flops } = work;
    const ns = spans.duration[row]!;
    const label = module !== '' ? module : op !== '' ? op : trace.names[spans.name[row]!]!;
    const name = decode(label).replace(LAYER_NUMBER, 'layers.*');
    let total = modules.get(name);
    if (total === undefined) {
      total = { name, calls: 0, total: 0, bandwidth: null, flops: null, kernels: new Map(), rated: [0, 0, 0, 0] };
      modules.set(name, total);
    }
    total.calls++;
    total.total += ns;
    const { rated } = total;
    if (!Number.isNaN(bandwidth)) {
      rated[0] += bandwidth * ns;
      rated[1] += ns;
      total.bandwidth = rated[1] > 0 ? rated[0] / rated[1] : null;
    }
    if (!Number.isNaN(flops)) {
      rated[2] += flops * ns;
      rated[3] += ns;
      total.flops = rated[3] > 0 ? rated[2] / rated[3] : null;
    }
    const kernel = total.kernels.get(spans.name[row]!) ?? { calls: 0, total: 0 };
    kernel.calls++;
    kernel.total += ns;
    total.kernels.set(spans.name[row]!, kernel);
    const device = tracks[spans.track[row]!]!.pid;
    const list = byDevice.get(device);
    const entry = { row, step: stepOf(work) };
    if (list) list.push(entry);
    else byDevice.set(device, [entry]);
  }
  let busy = 0;
  let span = 0;
  const stepGaps: number[] = [];
  for (const works of byDevice.values()) {
    works.sort((a, b) => spans.begin[a.row]! - spans.begin[b.row]!);
    const intervals = works.map(({ row }): Interval => ({ begin: spans.begin[row]!, end: endOf(row) }));
    const union = unionOf(intervals);
    busy += totalOf(union);
    if (union.length > 0) span += union.at(-1)!.end - union[0]!.begin;
    let until = Number.POSITIVE_INFINITY;
    let step = -1;
    for (const work of works) {
      const begin = spans.begin[work.row]!;
      if (work.step !== step && step >= 0 && work.step >= 0) stepGaps.push(Math.max(0, begin - until));
      until = until === Number.POSITIVE_INFINITY ? endOf(work.row) : Math.max(until, endOf(work.row));
      step = work.step;
    }
  }
  return { busy, span, modules: [...modules.values()].map(({ rated: _, ...rest }) => rest), stepGaps };
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

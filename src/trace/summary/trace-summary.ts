// What a user asks first of a trace: where the time went, by category, op and layer; how long steps took; what filled
// the time between them; and whether the trace can be trusted. For our traces and those of PyTorch (Kineto).
import { VitrineError } from '../../util/errors.js';
import { identifyTrace, rankLabel } from '../read/trace-identity.js';
import { decode, type Interval, type LoadedTrace, loadTrace } from '../read/trace-loader.js';
import { TraceDamage } from '../read/trace-scanner.js';
import { gpuTotals } from './gpu-summary.js';
import { OpTotals } from './op-totals.js';
import { analyseGaps, GAP_CAUSES, type GapCause } from './step-gaps.js';
import { BATCH_CLASSES, waitingGaps } from './waiting-gaps.js';

/**
 * What `--json` prints: these keys and no others, all of them always there, null where the trace does not tell. A key is
 * added without notice; `version` changes when one changes its meaning or goes. Times in microseconds, shares from 0 to 1.
 */
export interface TraceSummary {
  readonly version: 1;
  readonly file: string;
  readonly profileId: string | null;
  readonly stage: string | null;
  /** `[TP00]`, or how many files were merged. */
  readonly origin: string;
  readonly events: number;
  readonly spans: number;
  /** From the first span's begin to the last one's end. */
  readonly durationUs: number;
  readonly processes: readonly { readonly name: string; readonly pid: string; readonly threads: number }[];
  readonly categories: readonly CategorySummary[];
  readonly ops: readonly OpSummary[];
  /** Ops beyond the ones listed. */
  readonly otherOps: { readonly count: number; readonly selfUs: number };
  readonly layers: readonly LayerSummary[];
  readonly steps: readonly StepSummary[];
  /** Idle time between steps and its causes; null with fewer than two steps or none between them. */
  readonly gaps: GapSummary | null;
  /** By the batch size of the step after the gap, ascending; none where the trace has no requests or no batch sizes. */
  readonly waitingGaps: readonly WaitingGapSummary[];
  /** null: the trace has no work of a GPU. */
  readonly gpu: GpuSummary | null;
  readonly droppedRecords: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

export interface CategorySummary {
  readonly category: string;
  readonly spans: number;
  /** Without the spans inside on their thread: over all categories, no time of a thread counts twice. */
  readonly selfUs: number;
  /** Of all self time except that of sampled stacks; null for those. */
  readonly share: number | null;
}

export interface OpSummary {
  readonly name: string;
  readonly category: string;
  readonly calls: number;
  readonly selfUs: number;
  /** With the ops inside it. */
  readonly totalUs: number;
  /** Of the self time of all ops. */
  readonly share: number;
  /** By self time. */
  readonly shapes: readonly {
    readonly shape: string;
    readonly calls: number;
    readonly selfUs: number;
    readonly totalUs: number;
  }[];
}

export interface LayerSummary {
  readonly layer: number;
  readonly calls: number;
  readonly totalUs: number;
  readonly meanUs: number;
  /** Of all layers. */
  readonly share: number;
  readonly topOp: string;
  readonly topOpUs: number;
}

export interface StepSummary {
  /** `all`, or a mode where steps say theirs. */
  readonly mode: string;
  readonly count: number;
  readonly totalUs: number;
  readonly meanUs: number;
  readonly minUs: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export interface GapSummary {
  readonly count: number;
  readonly totalUs: number;
  /** Of the time from the first step to the last. */
  readonly share: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  readonly causes: readonly { readonly cause: GapCause; readonly us: number; readonly share: number }[];
}

/** Gaps between steps while a request was alive, those of no length included. */
export interface WaitingGapSummary {
  readonly fromBatch: number;
  /** null: no limit. */
  readonly toBatch: number | null;
  readonly count: number;
  readonly totalUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export interface GpuSummary {
  /** Time in which a GPU worked, over all of them, and its share of the time from its first work to its last. */
  readonly busyUs: number;
  readonly share: number;
  /** Idle time between the work of one step and that of the next; null with fewer than two steps. */
  readonly stepGaps: {
    readonly count: number;
    readonly totalUs: number;
    readonly p50Us: number;
    readonly p99Us: number;
    readonly maxUs: number;
  } | null;
  /** By time. */
  readonly modules: readonly GpuModuleSummary[];
  readonly otherModules: { readonly count: number; readonly totalUs: number };
}

export interface GpuModuleSummary {
  /** With `*` for the number of the layer; of work without a module its op, else the kernel's own name. */
  readonly module: string;
  /** Kernels and copies. */
  readonly calls: number;
  readonly totalUs: number;
  /** Of all work of GPUs. */
  readonly share: number;
  /** What its ops reached, averaged over their time; null where the trace does not say. */
  readonly gigabytesPerSecond: number | null;
  readonly teraflopsPerSecond: number | null;
  /** By time. */
  readonly kernels: readonly { readonly name: string; readonly calls: number; readonly totalUs: number }[];
}

const us = (ns: number) => Math.round(ns) / 1000;
const share = (part: number, whole: number) => (whole > 0 ? part / whole : 0);

/** Percentile with linear interpolation, of sorted values. */
function percentile(sorted: readonly number[], fraction: number): number {
  if (sorted.length === 0) return 0;
  const at = (sorted.length - 1) * fraction;
  const low = Math.floor(at);
  const value = sorted[low]!;
  return value + ((sorted[low + 1] ?? value) - value) * (at - low);
}

function stepSummary(mode: string, durations: readonly number[]): StepSummary {
  const sorted = durations.toSorted((a, b) => a - b);
  const total = sorted.reduce((sum, ns) => sum + ns, 0);
  return {
    mode,
    count: sorted.length,
    totalUs: us(total),
    meanUs: us(total / sorted.length),
    minUs: us(sorted[0]!),
    p50Us: us(percentile(sorted, 0.5)),
    p90Us: us(percentile(sorted, 0.9)),
    p99Us: us(percentile(sorted, 0.99)),
    maxUs: us(sorted.at(-1)!),
  };
}

function summariseSteps(trace: LoadedTrace, totals: OpTotals): StepSummary[] {
  const byMode = new Map<string, number[]>();
  for (const row of totals.steps) {
    const mode = decode(trace.modes[trace.spans.step[row]! - 1] ?? '');
    const list = byMode.get(mode);
    if (list) list.push(trace.spans.duration[row]!);
    else byMode.set(mode, [trace.spans.duration[row]!]);
  }
  const all = [...byMode.values()].flat();
  if (all.length === 0) return [];
  const modes = [...byMode].filter(([mode]) => mode !== '').sort(([a], [b]) => (a < b ? -1 : 1));
  return [stepSummary('all', all), ...modes.map(([mode, durations]) => stepSummary(mode, durations))];
}

function intervalOf({ spans }: LoadedTrace, row: number): Interval {
  return { begin: spans.begin[row]!, end: spans.begin[row]! + spans.duration[row]! };
}

/** Rows of steps by their track. */
function stepsByTrack({ spans }: LoadedTrace, totals: OpTotals): Map<number, number[]> {
  const byTrack = new Map<number, number[]>();
  for (const row of totals.steps) {
    const rows = byTrack.get(spans.track[row]!);
    if (rows) rows.push(row);
    else byTrack.set(spans.track[row]!, [row]);
  }
  return byTrack;
}

function summariseWaitingGaps(trace: LoadedTrace, totals: OpTotals): WaitingGapSummary[] {
  const sized = (row: number) => ({ ...intervalOf(trace, row), batchSize: trace.batchSizes.get(row) ?? 0 });
  const tracks = [...stepsByTrack(trace, totals).values()].map((rows) => rows.map(sized));
  const gaps = waitingGaps(tracks, trace.requests);
  return BATCH_CLASSES.filter((batch) => gaps.has(batch)).map((batch) => {
    const sorted = gaps.get(batch)!.toSorted((a, b) => a - b);
    return {
      fromBatch: batch.from,
      toBatch: batch.to === Number.MAX_SAFE_INTEGER ? null : batch.to,
      count: sorted.length,
      totalUs: us(sorted.reduce((sum, ns) => sum + ns, 0)),
      p50Us: us(percentile(sorted, 0.5)),
      p99Us: us(percentile(sorted, 0.99)),
      maxUs: us(sorted.at(-1)!),
    };
  });
}

function summariseGaps(trace: LoadedTrace, totals: OpTotals): GapSummary | null {
  const { spans, tracks } = trace;
  const interval = (row: number) => intervalOf(trace, row);
  const byTrack = stepsByTrack(trace, totals);
  const pidOf = (row: number) => tracks[spans.track[row]!]!.pid;
  const schedulerByPid = new Map<string, Interval[]>();
  for (const row of totals.host.scheduler) {
    const list = schedulerByPid.get(pidOf(row));
    if (list) list.push(interval(row));
    else schedulerByPid.set(pidOf(row), [interval(row)]);
  }
  const stepTracks = [...byTrack].map(([track, rows]) => ({
    steps: rows.map(interval),
    scheduler: schedulerByPid.get(tracks[track]!.pid) ?? [],
  }));
  const { gaps, byCause, span } = analyseGaps(stepTracks, {
    tokenizer: totals.host.tokenizer.map(interval),
    http: totals.host.http.map(interval),
    requests: trace.requests,
  });
  if (gaps.length === 0) return null;
  const sorted = gaps.toSorted((a, b) => a - b);
  const total = sorted.reduce((sum, ns) => sum + ns, 0);
  return {
    count: sorted.length,
    totalUs: us(total),
    share: share(total, span),
    p50Us: us(percentile(sorted, 0.5)),
    p99Us: us(percentile(sorted, 0.99)),
    maxUs: us(sorted.at(-1)!),
    causes: GAP_CAUSES.map((cause) => ({
      cause,
      us: us(byCause.get(cause)!),
      share: share(byCause.get(cause)!, total),
    }))
      .filter((cause) => cause.us > 0)
      .sort((a, b) => b.us - a.us),
  };
}

function summariseGpu(trace: LoadedTrace, totals: OpTotals, top: number): GpuSummary | null {
  if (trace.gpuWork.length === 0) return null;
  const { busy, span, modules, stepGaps } = gpuTotals(trace, totals.steps);
  const sorted = modules.toSorted((a, b) => b.total - a.total);
  const whole = sorted.reduce((sum, { total }) => sum + total, 0);
  const rest = sorted.slice(top);
  const gaps = stepGaps.toSorted((a, b) => a - b);
  return {
    busyUs: us(busy),
    share: share(busy, span),
    stepGaps:
      gaps.length === 0
        ? null
        : {
            count: gaps.length,
            totalUs: us(gaps.reduce((sum, ns) => sum + ns, 0)),
            p50Us: us(percentile(gaps, 0.5)),
            p99Us: us(percentile(gaps, 0.99)),
            maxUs: us(gaps.at(-1)!),
          },
    modules: sorted.slice(0, top).map((module) => ({
      module: module.name,
      calls: module.calls,
      totalUs: us(module.total),
      share: share(module.total, whole),
      gigabytesPerSecond: module.bandwidth.value,
      teraflopsPerSecond: module.flops.value,
      kernels: [...module.kernels]
        .sort(([, a], [, b]) => b.total - a.total)
        .map(([name, { calls, total }]) => ({ name: decode(trace.names[name]!), calls, totalUs: us(total) })),
    })),
    otherModules: { count: rest.length, totalUs: us(rest.reduce((sum, { total }) => sum + total, 0)) },
  };
}

function summariseOps(trace: LoadedTrace, totals: OpTotals, top: number): Pick<TraceSummary, 'ops' | 'otherOps'> {
  const sorted = totals.ops.toSorted((a, b) => b.self - a.self);
  const whole = sorted.reduce((sum, op) => sum + op.self, 0);
  const rest = sorted.slice(top);
  return {
    ops: sorted.slice(0, top).map((op) => ({
      name: decode(trace.names[op.name]!),
      category: decode(trace.categories[op.category]!),
      calls: op.calls,
      selfUs: us(op.self),
      totalUs: us(op.total),
      share: share(op.self, whole),
      shapes: [...op.shapes]
        .sort(([, a], [, b]) => b.self - a.self)
        .map(([shape, { calls, self, total }]) => ({
          shape: JSON.stringify(JSON.parse(trace.shapes[shape]!)),
          calls,
          selfUs: us(self),
          totalUs: us(total),
        })),
    })),
    otherOps: { count: rest.length, selfUs: us(rest.reduce((sum, op) => sum + op.self, 0)) },
  };
}

function summariseLayers(trace: LoadedTrace, totals: OpTotals): LayerSummary[] {
  const layers = totals.layers(trace);
  const whole = layers.reduce((sum, layer) => sum + layer.total, 0);
  return layers
    .sort((a, b) => a.layer - b.layer)
    .map(({ layer, calls, total, ops }) => {
      const [name, self] = [...ops].reduce((best, op) => (op[1] > best[1] ? op : best));
      return {
        layer,
        calls,
        totalUs: us(total),
        meanUs: us(total / calls),
        share: share(total, whole),
        topOp: decode(trace.names[name]!),
        topOpUs: us(self),
      };
    });
}

function warningsOf(trace: LoadedTrace, totals: OpTotals, dropped: number): string[] {
  const warnings: string[] = [];
  const warn = (count: number, text: string) => {
    if (count > 0) warnings.push(`${count} ${text}`);
  };
  warn(dropped, 'records were dropped while recording: times and counts are too low');
  warn(trace.negativeDurations, 'spans have a negative duration and are left out');
  warn(trace.withoutTimes, 'spans have no readable ts or dur and are left out');
  warn(trace.halfSpans, 'begin and end events (ph B and E) are left out: only complete ones (ph X) are counted');
  warn(totals.overlaps, 'spans end after the span around them: their thread is not nested');
  warn(trace.flowStartsWithoutEnd, 'flows start and never end');
  warn(trace.flowEndsWithoutStart, 'flows end without a start');
  warn(trace.repairedEvents, 'events were not UTF-8');
  return warnings;
}

function originOf(
  path: string,
  members: ReadonlyMap<string, string>,
): Pick<TraceSummary, 'origin' | 'profileId' | 'stage'> {
  const identity = identifyTrace(path, members);
  const { sources } = (JSON.parse(members.get('vitrine') ?? 'null') ?? {}) as { sources?: unknown };
  const origin = Array.isArray(sources) ? `merged from ${sources.length} files` : rankLabel(identity);
  return { origin, profileId: identity.profileId ?? null, stage: identity.stage ?? null };
}

function processesOf({ tracks, processNames }: LoadedTrace, totals: OpTotals): TraceSummary['processes'] {
  const threads = new Map<string, number>();
  tracks.forEach(({ pid }, index) => {
    if (totals.isReal(index)) threads.set(pid, (threads.get(pid) ?? 0) + 1);
  });
  return [...threads].map(([pid, count]) => ({
    name: decode(processNames.get(pid) ?? '""'),
    pid: decode(pid),
    threads: count,
  }));
}

/**
 * Summarises a trace file; the `top` ops by self time are listed. Rejects with VitrineError TRACE_INVALID where the file
 * is no whole trace.
 */
export async function summariseTrace(path: string, top: number, signal?: AbortSignal): Promise<TraceSummary> {
  let trace: LoadedTrace;
  try {
    trace = await loadTrace(path, signal);
  } catch (error) {
    if (!(error instanceof TraceDamage)) throw error;
    throw new VitrineError('TRACE_INVALID', `${path} cannot be summarised: ${error.message}.`);
  }
  const totals = new OpTotals(trace);
  const { droppedRecords, dropped, warnings } = identifyTrace(path, trace.members);
  const counted = totals.categories.reduce((sum, { self, sampled }) => sum + self - sampled, 0);
  return {
    version: 1,
    file: path,
    ...originOf(path, trace.members),
    events: trace.events,
    spans: trace.spans.length,
    durationUs: us(Math.max(0, totals.last - totals.first)),
    processes: processesOf(trace, totals),
    categories: totals.categories
      .toSorted((a, b) => b.self - a.self)
      .map(({ category, spans, self, sampled }) => ({
        category: decode(trace.categories[category]!),
        spans,
        selfUs: us(self),
        share: self > 0 && sampled === self ? null : share(self - sampled, counted),
      })),
    ...summariseOps(trace, totals, top),
    layers: summariseLayers(trace, totals),
    steps: summariseSteps(trace, totals),
    gaps: summariseGaps(trace, totals),
    waitingGaps: summariseWaitingGaps(trace, totals),
    gpu: summariseGpu(trace, totals, top),
    droppedRecords,
    dropped,
    warnings: [...warnings, ...warningsOf(trace, totals, droppedRecords)],
  };
}

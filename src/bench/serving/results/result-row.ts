// The JSONL row of a run: SGLang's keys with SGLang's meaning, then our own.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import { countTurns } from '../../datasets/bench-request.js';
import { countFailures } from '../../results/failures.js';
import type { ResultRow } from '../../results/figures.js';
import type { PhaseWork } from '../../roofline/phase-work.js';
import type { Sample } from '../../statistics/statistics.js';
import type { ScheduledWorkload } from '../load/arrivals.js';
import { isFailure } from '../load/request-record.js';
import type { Goodput } from '../metrics/goodput.js';
import type { RunFigures } from '../metrics/run-figures.js';
import type { NoSteadyState, SteadyState } from '../metrics/steady-state.js';
import { cacheReport } from './cache-report.js';
import { formatRate } from './console-report.js';
import { requestDetails } from './details.js';
import { latencyKeys, meanIntervalKey, PERCENTS, percentileKeys } from './latency-keys.js';
import { workloadArguments } from './workload-arguments.js';

export interface RowInput extends RunFigures {
  readonly options: BenchServingOptions;
  readonly workload: ScheduledWorkload;
  /** From 1 to --num-runs. */
  readonly runNumber: number;
  /** The whole answer of /server_info, or null. */
  readonly serverInfo: unknown;
  /** With --roofline, where the server counts it. */
  readonly work?: PhaseWork | undefined;
}

export function resultRow(input: RowInput): ResultRow {
  const { options, metrics } = input;
  const { rate } = input.workload;
  return {
    tag: options.tag ?? null,
    backend: options.backend,
    dataset_name: options.datasetName,
    // SGLang writes the bare word Infinity, which is not JSON.
    request_rate: Number.isFinite(rate) ? rate : formatRate(rate),
    max_concurrency: options.maxConcurrency ?? null,
    sharegpt_output_len: options.sharegptOutputLen ?? null,
    random_input_len: options.randomInputLen,
    random_output_len: options.randomOutputLen,
    random_range_ratio: options.randomRangeRatio,
    server_info: input.serverInfo,
    duration: metrics.duration,
    completed: metrics.completed,
    total_input_tokens: metrics.totalInput,
    total_input_text_tokens: metrics.totalInput,
    total_input_vision_tokens: 0,
    total_output_tokens: metrics.totalOutput,
    total_output_tokens_retokenized: metrics.totalOutputRetokenized,
    request_throughput: metrics.requestThroughput,
    input_throughput: metrics.inputThroughput,
    output_throughput: metrics.outputThroughput,
    total_throughput: metrics.totalThroughput,
    ...latencyKeys('e2e_latency', metrics.e2e, [90, 99]),
    ...latencyKeys('ttft', metrics.ttft, [99]),
    ...latencyKeys('tpot', metrics.tpot, [99]),
    ...latencyKeys('itl', metrics.itl, [95, 99]),
    concurrency: metrics.concurrency,
    accept_length: metrics.acceptLength ?? null,
    max_output_tokens_per_s: metrics.maxOutputTokensPerSecond,
    max_concurrent_requests: metrics.maxConcurrentRequests,
    ...additions(input),
    ...(input.work === undefined ? {} : { roofline: input.work }),
    ...(options.cacheReport ? { cache_report: cacheReport(input.run.records) } : {}),
    ...(input.goodput === undefined ? {} : goodputKeys(input.goodput)),
    ...(input.steadyState === undefined ? {} : { steady_state: steadyStateObject(input.steadyState, input.run.start) }),
    ...(options.outputDetails ? requestDetails(input.workload.requests, input.run) : {}),
    ...(options.outputDetails && input.goodput !== undefined ? { good: goodByTurn(input) } : {}),
  };
}

function additions({ options, metrics, workload, run, runNumber }: RowInput): ResultRow {
  const { meanIntervals } = metrics;
  return {
    started_at: new Date(run.startedAt).toISOString(),
    run: runNumber,
    num_runs: options.numRuns,
    num_prompts: workload.requests.length,
    num_turns: countTurns(workload.requests),
    seed: options.seed,
    workload_args: workloadArguments(options),
    failed: metrics.failed,
    interrupted: metrics.interrupted,
    errors_by_message: Object.fromEntries(countFailures(run.records.filter(isFailure).map(({ error }) => error))),
    skipped_rows: workload.skipped,
    server_input_tokens: metrics.serverInput ?? null,
    output_len_sources: metrics.lengthSources,
    ...moreOf('e2e_latency', metrics.e2e, [95, 99.9]),
    ...moreOf('ttft', metrics.ttft, [90, 95, 99.9]),
    ...moreOf('tpot', metrics.tpot, [90, 95, 99.9]),
    ...moreOf('itl', metrics.itl, [90, 99.9]),
    ...meanIntervalKey('e2e_latency', meanIntervals.e2e),
    ...meanIntervalKey('ttft', meanIntervals.ttft),
    ...meanIntervalKey('tpot', meanIntervals.tpot),
    ...meanIntervalKey('itl', meanIntervals.itl),
    ...latencyKeys('first_token', metrics.firstToken, [99]),
    ...latencyKeys('client_queue', metrics.queue, [99]),
    achieved_request_rate: metrics.achievedRate ?? null,
    peak_concurrent_requests: metrics.peakConcurrency,
    peak_output_throughput: metrics.peakOutputThroughput,
  };
}

/** What SGLang's keys leave out of a latency. */
function moreOf(name: string, sample: Sample, percents: readonly number[]): Record<string, number> {
  return { ...percentileKeys(name, sample, percents), [`max_${name}_ms`]: sample.max * 1000 };
}

function goodputKeys({ objectives, goodRequests, rate, share, attainment }: Goodput): ResultRow {
  return {
    goodput: rate,
    good_requests: goodRequests,
    good_share: share,
    goodput_slos: Object.fromEntries(Object.entries(objectives).map(([name, seconds]) => [name, seconds * 1000])),
    goodput_attainment: attainment,
  };
}

function goodByTurn({ goodput, run, workload }: RowInput): boolean[] {
  const good = new Map(run.records.map(({ index, turn }, i) => [`${index}/${turn}`, goodput!.good[i]!]));
  return workload.requests.flatMap(({ followUps = [] }, index) =>
    Array.from({ length: 1 + followUps.length }, (_, turn) => good.get(`${index}/${turn}`) ?? false),
  );
}

/** `start`: of the load, on the clock of the window. */
function steadyStateObject(state: SteadyState | NoSteadyState, start: number): ResultRow {
  if (state.window === undefined) return { window: null, reason: state.reason };
  const { window } = state;
  const latency = (name: string, sample: Sample) => ({
    ...latencyKeys(name, sample, PERCENTS),
    [`max_${name}_ms`]: sample.max * 1000,
  });
  return {
    window: [window.start - start, window.end - start],
    duration: window.end - window.start,
    requests: state.requests,
    completed: state.completed,
    output_tokens: state.outputTokens,
    request_throughput: state.requestThroughput,
    input_throughput: state.inputThroughput,
    output_throughput: state.outputThroughput,
    total_throughput: state.totalThroughput,
    concurrency: state.concurrency,
    concurrency_of_halves: state.concurrencyOfHalves,
    ...latency('e2e_latency', state.e2e),
    ...latency('ttft', state.ttft),
    ...latency('tpot', state.tpot),
    ...latency('itl', state.itl),
    ...(state.goodput === undefined ? {} : goodputKeys(state.goodput)),
  };
}

/** `{backend}_{MMDD}_{num_prompts}_{dataset}.jsonl`, with the lengths for the random datasets. */
export function automaticFileName(options: BenchServingOptions, today: Date): string {
  const date = `${today.getMonth() + 1}`.padStart(2, '0') + `${today.getDate()}`.padStart(2, '0');
  const stem = `${options.backend}_${date}_${options.numPrompts}`;
  if (!options.datasetName.startsWith('random')) return `${stem}_${options.datasetName}.jsonl`;
  return `${stem}_${options.randomInputLen}_${options.randomOutputLen}.jsonl`;
}

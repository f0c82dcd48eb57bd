// The figures of a run: SGLang's block and keys, then what SGLang does not tell.
import type { OfflineThroughputOptions } from '../../config/tables/offline-throughput-options.js';
import type { SchedulerState } from '../../messages/control.js';
import { countFailures } from '../results/failures.js';
import { Sample, sum } from '../statistics/statistics.js';
import { heading, row, WIDTH } from '../terminal/console-block.js';
import type { Outcome } from './run-all.js';

export interface OfflineRun {
  readonly outcomes: readonly Outcome[];
  /** From the first request given to the last answer. */
  readonly seconds: number;
  readonly before: SchedulerState;
  readonly after: SchedulerState;
}

const isSuccess = ({ error, interrupted }: Outcome): boolean => error === '' && !interrupted;

/** Rates are per second of the run. */
interface Figures {
  readonly successful: number;
  readonly interrupted: number;
  /** Of the dataset, over the successful requests. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  /** Share of the prompt tokens by the engine. */
  readonly cacheHitRate: number;
  /** Requests that lost their KV blocks and were computed again. */
  readonly retractions: number;
  readonly latency: Sample;
}

function figuresOf({ outcomes, before, after }: OfflineRun): Figures {
  const successes = outcomes.filter(isSuccess);
  const total = (read: (outcome: Outcome) => number): number => sum(successes.map(read));
  const cachedTokens = total((outcome) => outcome.cachedTokens);
  const promptTokens = total((outcome) => outcome.promptTokens);
  return {
    successful: successes.length,
    interrupted: outcomes.filter(({ interrupted }) => interrupted).length,
    inputTokens: total(({ request }) => request.promptLen),
    outputTokens: total((outcome) => outcome.completionTokens),
    cachedTokens,
    cacheHitRate: promptTokens === 0 ? 0 : cachedTokens / promptTokens,
    retractions: after.retractionsTotal - before.retractionsTotal,
    latency: new Sample(successes.map(({ latency }) => latency)),
  };
}

export function renderReport({ backend }: OfflineThroughputOptions, run: OfflineRun): string[] {
  const { seconds, outcomes, after } = run;
  const figures = figuresOf(run);
  const { successful, inputTokens, outputTokens, latency } = figures;
  const real = (label: string, value: number): string => row(label, value.toFixed(2));
  const count = (label: string, value: number): string => row(label, String(value));
  const failed = outcomes.length - successful - figures.interrupted;
  return [
    '',
    heading(' Offline Throughput Benchmark Result ', '='),
    row('Backend:', backend),
    count('Successful requests:', successful),
    real('Benchmark duration (s):', seconds),
    count('Total input tokens:', inputTokens),
    count('Total generated tokens:', outputTokens),
    real('Last generation throughput (tok/s):', after.lastGenThroughput),
    real('Request throughput (req/s):', successful / seconds),
    real('Input token throughput (tok/s):', inputTokens / seconds),
    real('Output token throughput (tok/s):', outputTokens / seconds),
    real('Total token throughput (tok/s):', (inputTokens + outputTokens) / seconds),
    '='.repeat(WIDTH),
    heading(' More ', '-'),
    count('Failed requests:', failed),
    ...(figures.interrupted > 0 ? [count('Interrupted requests:', figures.interrupted)] : []),
    ...PERCENTS.map((percent) => real(`P${percent} E2E Latency (ms):`, latency.percentile(percent) * 1000)),
    real('Max E2E Latency (ms):', latency.max * 1000),
    count('Prompt tokens from the prefix cache:', figures.cachedTokens),
    count('Retractions:', figures.retractions),
    '='.repeat(WIDTH),
  ];
}

const PERCENTS = [50, 90, 99];

/** The row of the result file. */
export function resultRow(options: OfflineThroughputOptions, run: OfflineRun): Record<string, unknown> {
  const { seconds, outcomes, after } = run;
  const { successful, inputTokens, outputTokens, latency, ...figures } = figuresOf(run);
  return {
    backend: options.backend,
    successful_requests: successful,
    total_latency: seconds,
    total_input_tokens: inputTokens,
    total_output_tokens: outputTokens,
    request_throughput: successful / seconds,
    input_throughput: inputTokens / seconds,
    output_throughput: outputTokens / seconds,
    total_throughput: (inputTokens + outputTokens) / seconds,
    last_gen_throughput: after.lastGenThroughput,
    failed: outcomes.length - successful - figures.interrupted,
    interrupted: figures.interrupted,
    errors_by_message: Object.fromEntries(failuresOf(run)),
    mean_e2e_latency_ms: latency.mean * 1000,
    median_e2e_latency_ms: latency.median * 1000,
    p90_e2e_latency_ms: latency.percentile(90) * 1000,
    p99_e2e_latency_ms: latency.percentile(99) * 1000,
    max_e2e_latency_ms: latency.max * 1000,
    cached_input_tokens: figures.cachedTokens,
    cache_hit_rate: figures.cacheHitRate,
    retractions: figures.retractions,
    model_path: options.modelPath,
    dataset_name: options.datasetName,
    num_prompts: outcomes.length,
    seed: options.seed,
  };
}

/** Message → requests that failed with it. */
export function failuresOf({ outcomes }: OfflineRun): ReadonlyMap<string, number> {
  return countFailures(outcomes.map(({ error }) => error).filter((error) => error !== ''));
}

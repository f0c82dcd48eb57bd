// The JSONL row of a run: SGLang's keys with SGLang's meaning, then our own.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import type { Workload } from '../../datasets/bench-request.js';
import type { Sample } from '../../statistics.js';
import { isSuccess, type RequestRecord } from '../load/request-record.js';
import { type Metrics, outputLength } from '../metrics/metrics.js';
import { cacheReport } from './cache-report.js';
import { countFailures, formatRate } from './console-report.js';

export interface RowInput {
  readonly options: BenchServingOptions;
  readonly metrics: Metrics;
  readonly workload: Workload;
  readonly records: readonly RequestRecord[];
  readonly retokenized: readonly number[];
  /** The whole answer of /server_info, or null. */
  readonly serverInfo: unknown;
}

const MS = 1000;

export function resultRow(input: RowInput): Record<string, unknown> {
  const { options, metrics } = input;
  return {
    tag: options.tag ?? null,
    backend: options.backend,
    dataset_name: options.datasetName,
    // SGLang writes the bare word Infinity, which is not JSON.
    request_rate: Number.isFinite(options.requestRate) ? options.requestRate : formatRate(options.requestRate),
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
    ...(options.cacheReport ? { cache_report: cacheReport(input.records) } : {}),
    ...(options.outputDetails ? details(input) : {}),
  };
}

function latencyKeys(name: string, sample: Sample, percents: readonly number[]): Record<string, number> {
  const keys: Record<string, number> = {
    [`mean_${name}_ms`]: sample.mean * MS,
    [`median_${name}_ms`]: sample.median * MS,
    [`std_${name}_ms`]: sample.standardDeviation * MS,
  };
  for (const percent of percents) keys[`p${percent}_${name}_ms`] = sample.percentile(percent) * MS;
  return keys;
}

/** p99.9 → p999, as others write it. */
function morePercentiles(name: string, sample: Sample, percents: readonly number[]): Record<string, number> {
  const keys: Record<string, number> = {};
  for (const percent of percents) {
    keys[`p${String(percent).replace('.', '')}_${name}_ms`] = sample.percentile(percent) * MS;
  }
  keys[`max_${name}_ms`] = sample.max * MS;
  return keys;
}

function additions({ options, metrics, workload, records }: RowInput): Record<string, unknown> {
  return {
    num_prompts: workload.requests.length,
    seed: options.seed,
    failed: metrics.failed,
    interrupted: metrics.interrupted,
    errors_by_message: countFailures(records),
    skipped_rows: workload.skipped,
    server_input_tokens: metrics.serverInput ?? null,
    output_len_sources: metrics.lengthSources,
    ...morePercentiles('e2e_latency', metrics.e2e, [95, 99.9]),
    ...morePercentiles('ttft', metrics.ttft, [90, 95, 99.9]),
    ...morePercentiles('tpot', metrics.tpot, [90, 95, 99.9]),
    ...morePercentiles('itl', metrics.itl, [90, 99.9]),
    ...latencyKeys('first_token', metrics.firstToken, [99]),
    ...latencyKeys('client_queue', metrics.queue, [99]),
    peak_concurrent_requests: metrics.peakConcurrency,
    peak_output_throughput: metrics.peakOutputThroughput,
  };
}

/** One entry per request in the order of the workload; 0, '' and [] for those that failed or were not sent. */
function details({ workload, records, retokenized }: RowInput): Record<string, unknown> {
  const positions = new Map(records.map((record, position) => [record.index, position]));
  const perRequest = <T>(read: (record: RequestRecord, position: number) => T, otherwise: T): T[] =>
    workload.requests.map((_, index) => {
      const position = positions.get(index);
      return position === undefined ? otherwise : read(records[position]!, position);
    });
  const ofSuccess = <T>(read: (record: RequestRecord, position: number) => T, otherwise: T): T[] =>
    perRequest((record, position) => (isSuccess(record) ? read(record, position) : otherwise), otherwise);
  return {
    input_lens: workload.requests.map((request) => request.promptLen),
    output_lens: ofSuccess((record, position) => outputLength(record, retokenized[position]!), 0),
    ttfts: ofSuccess((record) => record.ttft ?? 0, 0),
    itls: ofSuccess<readonly number[]>((record) => record.gaps, []),
    generated_texts: ofSuccess((record) => record.text, ''),
    errors: perRequest((record) => record.error, 'not sent'),
  };
}

/** `{backend}_{MMDD}_{num_prompts}_{dataset}.jsonl`, with the lengths for the random datasets. */
export function automaticFileName(options: BenchServingOptions, today: Date): string {
  const date = `${today.getMonth() + 1}`.padStart(2, '0') + `${today.getDate()}`.padStart(2, '0');
  const stem = `${options.backend}_${date}_${options.numPrompts}`;
  if (options.datasetName === 'sharegpt') return `${stem}_sharegpt.jsonl`;
  return `${stem}_${options.randomInputLen}_${options.randomOutputLen}.jsonl`;
}

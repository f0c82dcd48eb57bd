// The kinds of result rows: how one is told, which keys are its workload, and which figures it is compared by.
import type { ResultRow } from './figures.js';

export interface ResultKind {
  /** The program that writes such rows. */
  readonly program: string;
  /** Keys that all its rows have, and no other's. */
  readonly marks: readonly string[];
  /** Keys that say what was measured: rows that agree in them are runs of one workload. */
  readonly workload: readonly string[];
  /** Main figures, in the order of the program's report. */
  readonly metrics: readonly string[];
}

const LATENCIES = ['ttft', 'tpot', 'itl', 'e2e_latency'];

export const SERVING: ResultKind = {
  program: 'bench-serving',
  marks: ['request_throughput', 'mean_ttft_ms'],
  workload: [
    'dataset_name',
    'num_prompts',
    'request_rate',
    'max_concurrency',
    'sharegpt_output_len',
    'random_input_len',
    'random_output_len',
    'random_range_ratio',
    'seed',
  ],
  metrics: [
    'request_throughput',
    'goodput',
    'input_throughput',
    'output_throughput',
    'total_throughput',
    'peak_output_throughput',
    'concurrency',
    ...LATENCIES.flatMap((name) => ['mean', 'median', 'p90', 'p99'].map((figure) => `${figure}_${name}_ms`)),
    'steady_state.request_throughput',
    'steady_state.output_throughput',
    ...LATENCIES.map((name) => `steady_state.median_${name}_ms`),
  ],
};

const ONE_BATCH: ResultKind = {
  program: 'bench-one-batch',
  marks: ['prefill_latency', 'prefill_throughput'],
  workload: ['batch_size', 'input_len', 'output_len'],
  metrics: [
    'prefill_latency',
    'prefill_throughput',
    'median_decode_latency',
    'median_decode_throughput',
    'total_latency',
    'overall_throughput',
  ],
};

const ONE_BATCH_SERVER: ResultKind = {
  program: 'bench-one-batch-server',
  marks: ['last_ttft', 'overall_throughput'],
  workload: ['batch_size', 'input_len', 'output_len'],
  metrics: [
    'latency',
    'last_ttft',
    'input_throughput',
    'output_throughput',
    'overall_throughput',
    'last_gen_throughput',
    'acc_length',
    'cache_hit_rate',
  ],
};

const OFFLINE_THROUGHPUT: ResultKind = {
  program: 'bench-offline-throughput',
  marks: ['total_latency', 'successful_requests', 'request_throughput'],
  workload: ['dataset_name', 'successful_requests', 'total_input_tokens'],
  metrics: [
    'total_latency',
    'request_throughput',
    'input_throughput',
    'output_throughput',
    'total_throughput',
    'last_gen_throughput',
  ],
};

export const RESULT_KINDS: readonly ResultKind[] = [SERVING, ONE_BATCH, ONE_BATCH_SERVER, OFFLINE_THROUGHPUT];

/** undefined for a row of no program that is known here. */
export function kindOf(row: ResultRow): ResultKind | undefined {
  return RESULT_KINDS.find(({ marks }) => marks.every((key) => key in row));
}

export type Direction = 'higher' | 'lower' | 'neither';

/** Which way is better: by the words of the key, so that figures beyond the main ones are known too. */
export function directionOf(key: string): Direction {
  // Shares of requests, under the names of latencies.
  if (key.includes('goodput_attainment.')) return 'higher';
  const name = key.slice(key.lastIndexOf('.') + 1);
  if (/throughput|goodput|^good_|tokens_per_s|hit_rate|^acc(ept)?_length|^completed$/.test(name)) return 'higher';
  return /latency|ttft|tpot|itl|first_token|client_queue|^duration$|^failed$/.test(name) ? 'lower' : 'neither';
}

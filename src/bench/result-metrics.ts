// The figures in result rows that runs are compared by: which there are, and which way is better.

export type Direction = 'higher' | 'lower' | 'neither';

/** Main figures of bench-serving, in the order of its report. */
export const SERVING_METRICS: readonly string[] = [
  'request_throughput',
  'goodput',
  'input_throughput',
  'output_throughput',
  'total_throughput',
  'peak_output_throughput',
  'concurrency',
  ...['ttft', 'tpot', 'itl', 'e2e_latency'].flatMap((name) =>
    ['mean', 'median', 'p90', 'p99'].map((figure) => `${figure}_${name}_ms`),
  ),
];

export const ONE_BATCH_METRICS: readonly string[] = [
  'prefill_latency',
  'prefill_throughput',
  'median_decode_latency',
  'median_decode_throughput',
  'total_latency',
  'overall_throughput',
];

export const ONE_BATCH_SERVER_METRICS: readonly string[] = [
  'latency',
  'last_ttft',
  'input_throughput',
  'output_throughput',
  'overall_throughput',
  'last_gen_throughput',
  'acc_length',
  'cache_hit_rate',
];

export const OFFLINE_THROUGHPUT_METRICS: readonly string[] = [
  'total_latency',
  'request_throughput',
  'input_throughput',
  'output_throughput',
  'total_throughput',
  'last_gen_throughput',
];

/** By the words of the key, so that figures of other programs' rows are known too. */
export function directionOf(key: string): Direction {
  if (/throughput|goodput|good_|tokens_per_s|hit_rate|acc(ept)?_length|completed/.test(key)) return 'higher';
  return /latency|ttft|tpot|itl|first_token|client_queue|duration|failed/.test(key) ? 'lower' : 'neither';
}

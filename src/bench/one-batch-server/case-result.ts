// What is known of one case, under SGLang's names: the block that is printed and the row of the result file.
import type { Point } from '../one-batch/latency-test.js';
import type { BatchAnswer } from './batch-answer.js';
import type { GenerationState } from './server-client.js';

/** Latencies in seconds, throughputs in tokens per second. */
export interface CaseResult {
  readonly run_name: string;
  readonly batch_size: number;
  readonly input_len: number;
  readonly output_len: number;
  readonly latency: number;
  /** batch · input / last_ttft. */
  readonly input_throughput: number;
  /** batch · output / (latency − last_ttft), which counts the first tokens too; null for an output length of 1. */
  readonly output_throughput: number | null;
  /** batch · (input + output) / latency. */
  readonly overall_throughput: number;
  readonly last_ttft: number;
  /** By the server; -1: it does not say. */
  readonly last_gen_throughput: number;
  readonly acc_length: number;
  /** Share of the prompt tokens; null: the server does not say. */
  readonly cache_hit_rate: number | null;
  /** --server-args-for-metrics. */
  readonly server_args_for_metrics?: readonly string[];
}

export interface Measured {
  readonly runName: string;
  readonly serverArgs: readonly string[] | undefined;
  readonly point: Point;
  readonly answer: BatchAnswer;
  readonly state: GenerationState;
  readonly cacheHitRate: number | null;
}

export function caseResult({ runName, serverArgs, point, answer, state, cacheHitRate }: Measured): CaseResult {
  const { batchSize, inputLen, outputLen } = point;
  const { latency, lastTtft } = answer;
  return {
    run_name: runName,
    batch_size: batchSize,
    input_len: inputLen,
    output_len: outputLen,
    latency,
    input_throughput: (batchSize * inputLen) / lastTtft,
    output_throughput: outputLen === 1 ? null : (batchSize * outputLen) / (latency - lastTtft),
    overall_throughput: (batchSize * (inputLen + outputLen)) / latency,
    last_ttft: lastTtft,
    last_gen_throughput: state.lastGenThroughput,
    acc_length: state.acceptLength,
    cache_hit_rate: cacheHitRate,
    ...(serverArgs === undefined ? {} : { server_args_for_metrics: serverArgs }),
  };
}

export function renderCase(result: CaseResult): string[] {
  const { output_throughput: output, acc_length: acceptLength, cache_hit_rate: hitRate } = result;
  return [
    `batch size: ${result.batch_size}`,
    `input_len: ${result.input_len}`,
    `output_len: ${result.output_len}`,
    `latency: ${result.latency.toFixed(2)} s`,
    `input throughput: ${result.input_throughput.toFixed(2)} tok/s`,
    ...(output === null ? [] : [`output throughput: ${output.toFixed(2)} tok/s`]),
    `last_ttft: ${result.last_ttft.toFixed(2)} s`,
    `last generation throughput: ${result.last_gen_throughput.toFixed(2)} tok/s`,
    ...(acceptLength > 0 ? [`acc_length: ${acceptLength.toFixed(2)} `] : []),
    ...(hitRate === null ? [] : [`cache hit rate: ${hitRate.toFixed(4)}`]),
  ];
}

/** The row of the result file, rounded as in SGLang. */
export function resultRow(result: CaseResult): CaseResult {
  const round = (value: number, decimals: number): number => Number(value.toFixed(decimals));
  return {
    ...result,
    latency: round(result.latency, 4),
    input_throughput: round(result.input_throughput, 2),
    output_throughput: result.output_throughput === null ? null : round(result.output_throughput, 2),
    overall_throughput: round(result.overall_throughput, 2),
    last_ttft: round(result.last_ttft, 4),
    last_gen_throughput: round(result.last_gen_throughput, 2),
    acc_length: round(result.acc_length, 2),
    cache_hit_rate: result.cache_hit_rate === null ? null : round(result.cache_hit_rate, 4),
  };
}

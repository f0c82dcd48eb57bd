// The figures of a run from the records of its requests. Keys that SGLang has keep SGLang's formulas; corrections and
// additions have keys of their own. docs/benchmarking.md lists them all.
import { Sample, sum } from '../../statistics.js';
import { isSuccess, type RequestRecord } from '../load/request-record.js';
import { bucketPeaks, peakConcurrency, peakThroughput } from './peaks.js';

export interface MetricsInput {
  readonly records: readonly RequestRecord[];
  /** Seconds from the first send to the last byte of the last answer. */
  readonly duration: number;
  /** Tokens of each record's text, encoded again without special tokens; by position in `records`. */
  readonly retokenized: readonly number[];
  /** Mean accepted tokens per step under speculative decoding, if the server reports it. */
  readonly acceptLength: number | undefined;
  /** Tokens of `gapTexts` per record, for servers with an accept length; gaps are shared among them. */
  readonly gapTokens: readonly (readonly number[])[] | undefined;
}

export interface Metrics {
  readonly completed: number;
  readonly failed: number;
  readonly interrupted: number;
  readonly duration: number;
  readonly totalInput: number;
  readonly totalOutput: number;
  readonly totalOutputRetokenized: number;
  /** Σ prompt tokens by the server; undefined where it never said. */
  readonly serverInput: number | undefined;
  /** Successful requests by where their output length came from. */
  readonly lengthSources: { readonly server: number; readonly retokenized: number };
  readonly requestThroughput: number;
  readonly inputThroughput: number;
  readonly outputThroughput: number;
  readonly totalThroughput: number;
  /** Mean number of requests in flight: Σ latency / duration. */
  readonly concurrency: number;
  readonly acceptLength: number | undefined;
  readonly maxOutputTokensPerSecond: number;
  readonly maxConcurrentRequests: number;
  readonly peakConcurrency: number;
  readonly peakOutputThroughput: number;
  /** Seconds. */
  readonly e2e: Sample;
  readonly ttft: Sample;
  readonly tpot: Sample;
  readonly itl: Sample;
  /** Send to first token chunk, with or without text. */
  readonly firstToken: Sample;
  /** Due to sent: the wait for --max-concurrency, in no other figure. */
  readonly queue: Sample;
}

/** Generated tokens of a successful request: the server's count, else that of its text. */
export function outputLength(record: RequestRecord, retokenized: number): number {
  return record.completionTokens ?? retokenized;
}

export function computeMetrics(input: MetricsInput): Metrics {
  const { records, duration, retokenized, acceptLength } = input;
  const positions = records.map((_, i) => i).filter((i) => isSuccess(records[i]!));
  const good = positions.map((i) => records[i]!);
  const lengths = positions.map((i) => outputLength(records[i]!, retokenized[i]!));
  const latencies = good.map((record) => record.endedAt - record.sentAt);
  const totalInput = sum(good.map((record) => record.promptLen));
  const totalOutput = sum(lengths);
  const tpots = good.flatMap((record, i) => {
    const tokens = lengths[i]!;
    return tokens > 1 && record.ttft !== undefined ? [(latencies[i]! - record.ttft) / (tokens - 1)] : [];
  });
  const perSecond = (count: number): number => (duration > 0 ? count / duration : 0);
  const promptCounts = good.flatMap(({ promptTokens }) => (promptTokens === undefined ? [] : [promptTokens]));
  const fromServer = good.filter((record) => record.completionTokens !== undefined).length;
  return {
    completed: good.length,
    failed: records.filter((record) => record.error !== '' && !record.interrupted).length,
    interrupted: records.filter((record) => record.interrupted).length,
    duration,
    totalInput,
    totalOutput,
    totalOutputRetokenized: sum(positions.map((i) => retokenized[i]!)),
    serverInput: promptCounts.length === 0 ? undefined : sum(promptCounts),
    lengthSources: { server: fromServer, retokenized: good.length - fromServer },
    requestThroughput: perSecond(good.length),
    inputThroughput: perSecond(totalInput),
    outputThroughput: perSecond(totalOutput),
    totalThroughput: perSecond(totalInput + totalOutput),
    concurrency: perSecond(sum(latencies)),
    acceptLength,
    ...bucketPeaks(good),
    peakConcurrency: peakConcurrency(records),
    peakOutputThroughput: peakThroughput(good),
    e2e: new Sample(latencies),
    ttft: new Sample(good.flatMap(({ ttft }) => (ttft === undefined ? [] : [ttft]))),
    tpot: new Sample(tpots),
    itl: new Sample(positions.flatMap((i) => gapsOf(records[i]!, input.gapTokens?.[i]))),
    firstToken: new Sample(good.flatMap(({ firstToken }) => (firstToken === undefined ? [] : [firstToken]))),
    queue: new Sample(good.map((record) => Math.max(0, record.sentAt - record.arrivedAt))),
  };
}

/** Inter-token latencies: the recorded gaps, each shared among its chunk's tokens where these were counted. */
export function gapsOf(record: RequestRecord, tokens: readonly number[] | undefined): readonly number[] {
  if (tokens === undefined) return record.gaps;
  return record.gaps.flatMap((gap, i) => {
    const count = Math.max(1, tokens[i] ?? 1);
    return Array.from({ length: count }, () => gap / count);
  });
}

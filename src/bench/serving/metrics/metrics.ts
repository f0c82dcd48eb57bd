// The figures of a run from the records of its requests. Keys that SGLang has keep SGLang's formulas; corrections and
// additions have keys of their own. docs/benchmarking.md lists them all.
import { clusteredMeanInterval, type Interval, meanInterval } from '../../statistics/confidence.js';
import { concatenate, Sample, sum } from '../../statistics/statistics.js';
import { isFailure, isSuccess, type RequestRecord } from '../load/request-record.js';
import type { MeasuredRun } from './measured-run.js';
import { bucketPeaks, peakConcurrency, peakThroughput } from './peaks.js';
import { latenciesOf, outputLength, sharedGaps } from './request-figures.js';

/** All of a run but the moment of its start: figures are differences. */
export type MetricsInput = Omit<MeasuredRun, 'start' | 'startedAt'>;

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
  /** Due to sent: the wait for --max-concurrency, and the client's own lateness; in no other figure. */
  readonly queue: Sample;
  /** 95 % confidence intervals of the means, in seconds; undefined for fewer than two requests. */
  readonly meanIntervals: Readonly<Record<'e2e' | 'ttft' | 'tpot' | 'itl', Interval | undefined>>;
  /** Conversations begun in a second, from the first send to the last; undefined where there are not two. */
  readonly achievedRate: number | undefined;
}

export function computeMetrics(input: MetricsInput): Metrics {
  const { records, duration, retokenized, acceptLength } = input;
  const positions = records.map((_, i) => i).filter((i) => isSuccess(records[i]!));
  const good = positions.map((i) => records[i]!);
  const lengths = positions.map((i) => outputLength(records[i]!, retokenized[i]!));
  const { e2e, ttft, tpot } = latenciesOf(good, lengths);
  const totalInput = sum(good.map((record) => record.promptLen));
  const totalOutput = sum(lengths);
  const gaps = positions.map((i) => sharedGaps(records[i]!.gaps, input.gapTokens?.[i]));
  const perSecond = (count: number): number => (duration > 0 ? count / duration : 0);
  const promptCounts = good.flatMap(({ promptTokens }) => (promptTokens === undefined ? [] : [promptTokens]));
  const fromServer = good.filter((record) => record.completionTokens !== undefined).length;
  return {
    completed: good.length,
    failed: records.filter(isFailure).length,
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
    concurrency: perSecond(sum(e2e)),
    acceptLength,
    ...bucketPeaks(good),
    peakConcurrency: peakConcurrency(records),
    peakOutputThroughput: peakThroughput(good, lengths),
    e2e: new Sample(e2e),
    ttft: new Sample(ttft),
    tpot: new Sample(tpot),
    itl: new Sample(concatenate(gaps)),
    firstToken: new Sample(good.flatMap(({ firstToken }) => firstToken ?? [])),
    queue: new Sample(good.map((record) => Math.max(0, record.sentAt - record.arrivedAt))),
    meanIntervals: {
      e2e: meanInterval(e2e),
      ttft: meanInterval(ttft),
      tpot: meanInterval(tpot),
      // The gaps of one request depend on each other.
      itl: clusteredMeanInterval(gaps),
    },
    achievedRate: achievedRate(records),
  };
}

function achievedRate(records: readonly RequestRecord[]): number | undefined {
  const times = Float64Array.from(records.filter(({ turn }) => turn === 0).map(({ sentAt }) => sentAt)).sort();
  const span = times.length < 2 ? 0 : times.at(-1)! - times[0]!;
  return span > 0 ? (times.length - 1) / span : undefined;
}

// The busiest moments of a run: SGLang's figures over fixed one-second buckets, and exact ones.
import { concatenate } from '../../statistics/statistics.js';
import type { RequestRecord } from '../load/request-record.js';
import { chunkTimes, tokenTimes } from './request-figures.js';

/** The life of a request, or of a conversation; same clock. */
export type InFlight = Pick<RequestRecord, 'sentAt' | 'endedAt'>;

export interface BucketPeaks {
  /** Tokens in the fullest bucket. */
  readonly maxOutputTokensPerSecond: number;
  /** Most requests that touch one bucket; more than ever ran at once when requests are short. */
  readonly maxConcurrentRequests: number;
}

/** SGLang's figures: buckets of one second from the first start. */
export function bucketPeaks(records: readonly RequestRecord[]): BucketPeaks {
  if (records.length === 0) return { maxOutputTokensPerSecond: 0, maxConcurrentRequests: 0 };
  const start = minimum(records.map((record) => record.sentAt));
  const end = maximum(records.map((record) => record.endedAt));
  const tokens = new Float64Array(Math.ceil(end - start) + 1);
  const requests = new Float64Array(tokens.length);
  for (const record of records) {
    for (const time of chunkTimes(record)) tokens[bucketOf(time - start, tokens.length)]! += 1;
    const last = bucketOf(record.endedAt - start, requests.length);
    for (let bucket = bucketOf(record.sentAt - start, requests.length); bucket <= last; bucket++) {
      requests[bucket]! += 1;
    }
  }
  return { maxOutputTokensPerSecond: maximum(tokens), maxConcurrentRequests: maximum(requests) };
}

const bucketOf = (seconds: number, count: number): number => Math.min(Math.floor(seconds), count - 1);

/** Most requests in flight at one moment. A request that ends when another starts does not overlap it. */
export function peakConcurrency(records: readonly InFlight[]): number {
  const events = records.flatMap((record) => [
    { time: record.sentAt, change: 1 },
    { time: record.endedAt, change: -1 },
  ]);
  events.sort((a, b) => a.time - b.time || a.change - b.change);
  let running = 0;
  let peak = 0;
  for (const { change } of events) {
    running += change;
    peak = Math.max(peak, running);
  }
  return peak;
}

/** Most tokens within any one second, wherever it begins. `lengths`: generated tokens of each record. */
export function peakThroughput(records: readonly RequestRecord[], lengths: readonly number[]): number {
  const times = concatenate(records.map((record, i) => tokenTimes(record, lengths[i]!))).sort();
  let peak = 0;
  for (let from = 0, to = 0; to < times.length; to++) {
    while (times[to]! - times[from]! >= 1) from += 1;
    peak = Math.max(peak, to - from + 1);
  }
  return peak;
}

function minimum(values: Iterable<number>): number {
  let least = Number.POSITIVE_INFINITY;
  for (const value of values) least = Math.min(least, value);
  return least;
}

function maximum(values: Iterable<number>): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  return most;
}

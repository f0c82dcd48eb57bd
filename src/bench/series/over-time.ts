// A run over time: rates in bins, and the number of requests in flight.
import { chunkTimes, type RequestTimes } from './request-times.js';

export interface Throughput {
  /** Seconds of a bin; bin i covers [i, i + 1) · width, the last one its end too. */
  readonly width: number;
  /** Per second: output tokens, input tokens (when the first token comes), requests (when they end). */
  readonly output: number[];
  readonly input: number[];
  readonly requests: number[];
}

/** About one bin a second, and from `least` to `most` of them: whole bins, so that the last one is no exception. */
export function binCount(duration: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, Math.round(duration)));
}

/**
 * Of successful requests. Where a chunk holds several tokens, or an unknown number, the output tokens of its request are
 * shared evenly among its chunks, so that the sum over all bins is the number of generated tokens.
 */
export function throughputOverTime(requests: readonly RequestTimes[], duration: number, bins: number): Throughput {
  const width = duration > 0 ? duration / bins : 1;
  const rates = () => new Array<number>(bins).fill(0);
  const throughput = { width, output: rates(), input: rates(), requests: rates() };
  const count = (rate: number[], time: number, amount: number): void => {
    const bin = Math.max(0, Math.min(bins - 1, Math.floor(time / width)));
    rate[bin]! += amount / width;
  };
  for (const request of requests) {
    if (request.error !== '') continue;
    count(throughput.requests, request.end, 1);
    const times = chunkTimes(request);
    if (times.length === 0) continue;
    count(throughput.input, times[0]!, request.promptLen);
    for (const time of times) count(throughput.output, time, request.outputLen / times.length);
  }
  return throughput;
}

/**
 * [time, requests in flight from then on], from 0 to the end of the last request, failed ones too. A request that ends when
 * another starts does not overlap it.
 */
export function concurrencyOverTime(requests: readonly RequestTimes[]): [time: number, running: number][] {
  const changes = requests.flatMap(({ sent, end }) => [
    { time: sent, change: 1 },
    { time: end, change: -1 },
  ]);
  changes.sort((a, b) => a.time - b.time || a.change - b.change);
  const steps: [number, number][] = [[0, 0]];
  let running = 0;
  for (const { time, change } of changes) {
    running += change;
    if (time <= steps.at(-1)![0]) steps.at(-1)![1] = running;
    else steps.push([time, running]);
  }
  return steps;
}

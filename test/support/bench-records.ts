// Records of single requests, for tests of figures.
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import type { MeasuredRun } from '#vitrine/bench/serving/metrics/measured-run.js';

/** A success of 4 tokens at 100.5, 101, 101.5 and 102 seconds. */
export function record(given: Partial<RequestRecord>): RequestRecord {
  return {
    index: 0,
    turn: 0,
    promptLen: 10,
    requestedLen: 4,
    arrivedAt: 100,
    sentAt: 100,
    endedAt: 102,
    error: '',
    interrupted: false,
    ttft: 0.5,
    firstToken: 0.5,
    gaps: [0.5, 0.5, 0.5],
    gapTexts: [],
    text: 'abcd',
    completionTokens: 4,
    promptTokens: 11,
    ...given,
  };
}

/** The run of `records`, from second 0 to the last end. */
export function runOf(records: readonly RequestRecord[], given: Partial<MeasuredRun> = {}): MeasuredRun {
  return {
    records,
    start: 0,
    startedAt: Date.UTC(2026, 0, 1),
    duration: Math.max(0, ...records.map(({ endedAt }) => endedAt)),
    retokenized: records.map(({ completionTokens }) => completionTokens ?? 0),
    acceptLength: undefined,
    gapTokens: undefined,
    ...given,
  };
}

/**
 * `count` requests through `places` places, each place taken again as it becomes free, as --max-concurrency does. Times are
 * multiples of 1/8 s, so that sums are exact and many fall together. Some requests fail.
 */
export function closedLoad(random: () => number, count: number, places: number): RequestRecord[] {
  const below = (limit: number): number => Math.floor(random() * limit);
  const free = Array.from({ length: places }, () => 0);
  return Array.from({ length: count }, (_, index) => {
    const sentAt = Math.min(...free);
    const tokens = 1 + below(6);
    const [ttft, ...gaps] = Array.from({ length: tokens }, () => (1 + below(8)) / 8);
    const endedAt = gaps.reduce((time, gap) => time + gap, sentAt + ttft!);
    free[free.indexOf(sentAt)] = endedAt;
    const failed = below(8) === 0;
    const answer = failed ? { error: 'HTTP 500', ttft: undefined, gaps: [] } : { ttft: ttft!, gaps };
    return record({ index, arrivedAt: 0, sentAt, endedAt, completionTokens: failed ? undefined : tokens, ...answer });
  });
}

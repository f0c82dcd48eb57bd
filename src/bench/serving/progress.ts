// The figures on the progress bar of a run.

import { Sample } from '../statistics/statistics.js';
import { ProgressBar, type ProgressSettings } from '../terminal/progress-bar.js';
import { isSuccess, type RequestRecord } from './load/request-record.js';
import { timePerOutputToken } from './metrics/request-figures.js';

/** The figures on the bar are those of the successes that ended in the last seconds, at most so many. */
const WINDOW_SECONDS = 10;
const MOST_RECENT = 1024;

/** Failures, medians and rates of a run while it goes on. */
export class Progress {
  readonly #bar: ProgressBar;
  #recent: RequestRecord[] = [];
  #failed = 0;

  constructor(settings: ProgressSettings) {
    this.#bar = new ProgressBar(settings, () => {
      const failed = this.#failed > 0 ? ` | failed ${this.#failed}` : '';
      return failed + liveFigures(this.#recent);
    });
  }

  add(record: RequestRecord): void {
    this.#bar.advance();
    if (isSuccess(record)) this.#recent.push(record);
    else this.#failed += 1;
    // Cut in blocks: the array shifts rarely.
    if (this.#recent.length > 2 * MOST_RECENT) this.#recent = this.#recent.slice(-MOST_RECENT);
  }

  stop(): void {
    this.#bar.stop();
  }
}

/** Medians and rates of the last seconds before the newest of `records` (by end); '' for none. */
export function liveFigures(records: readonly RequestRecord[]): string {
  const newest = records.at(-1);
  if (newest === undefined) return '';
  const recent = records.slice(-MOST_RECENT).filter((record) => newest.endedAt - record.endedAt <= WINDOW_SECONDS);
  const tokensOf = (record: RequestRecord): number => record.completionTokens ?? record.gaps.length + 1;
  const median = (values: readonly number[]): string => `${(new Sample(values).median * 1000).toFixed(1)} ms`;
  const medians = [
    `TTFT ${median(recent.flatMap(({ ttft }) => ttft ?? []))}`,
    `TPOT ${median(recent.flatMap((record) => timePerOutputToken(record, tokensOf(record)) ?? []))}`,
    `E2E ${median(recent.map((record) => record.endedAt - record.sentAt))}`,
  ];
  const seconds = newest.endedAt - recent[0]!.endedAt;
  // The oldest ended as the time began: it is not in the rate.
  const counted = recent.slice(1);
  const perSecond = (count: number): string => (seconds > 0 ? (count / seconds).toFixed(1) : '…');
  const tokens = counted.reduce((sum, record) => sum + tokensOf(record), 0);
  return ` | p50 ${medians.join(' ')} | ${perSecond(counted.length)} req/s ${perSecond(tokens)} tok/s`;
}

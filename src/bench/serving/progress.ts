// The progress bar of a run, on standard error; silent where that is no terminal.
import { SingleBar } from 'cli-progress';
import { Sample } from '../statistics/statistics.js';
import { isSuccess, type RequestRecord } from './load/request-record.js';
import { timePerOutputToken } from './metrics/request-figures.js';

/** The figures on the bar are those of the successes that ended in the last seconds, at most so many. */
const WINDOW_SECONDS = 10;
const MOST_RECENT = 1024;
const UPDATE_MS = 250;

export interface ProgressSettings {
  /** Requests to come. */
  readonly total: number;
  /** `Run 2/5 `; '' for the only run. */
  readonly label: string;
  readonly stream: NodeJS.WriteStream;
  readonly isDisabled: boolean;
}

export class Progress {
  readonly #bar: SingleBar | undefined;
  #recent: RequestRecord[] = [];
  #done = 0;
  #failed = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ total, label, stream, isDisabled }: ProgressSettings) {
    if (isDisabled || stream.isTTY !== true) return;
    this.#bar = new SingleBar({
      format: `${label}{bar} {value}/{total} | {duration_formatted} < {eta_formatted}{failed}{figures}`,
      stream,
      hideCursor: true,
      barsize: 20,
      etaBuffer: 50,
    });
    this.#bar.start(total, 0, { failed: '', figures: '' });
    this.#timer = setInterval(() => this.#draw(), UPDATE_MS);
    this.#timer.unref();
  }

  add(record: RequestRecord): void {
    this.#done += 1;
    if (isSuccess(record)) this.#recent.push(record);
    else this.#failed += 1;
    // Cut in blocks: the array shifts rarely.
    if (this.#recent.length > 2 * MOST_RECENT) this.#recent = this.#recent.slice(-MOST_RECENT);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#bar?.stop();
  }

  #draw(): void {
    const failed = this.#failed > 0 ? ` | failed ${this.#failed}` : '';
    this.#bar?.update(this.#done, { failed, figures: liveFigures(this.#recent) });
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

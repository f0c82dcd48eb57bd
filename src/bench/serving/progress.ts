// The progress bar of a run, on standard error; silent where that is no terminal.
import { SingleBar } from 'cli-progress';
import { Sample } from '../statistics.js';
import { isSuccess, type RequestRecord } from './load/request-record.js';

/** The figures on the bar are medians over this many requests, the last that ended. */
const WINDOW = 256;
const UPDATE_MS = 250;

export class Progress {
  readonly #bar: SingleBar | undefined;
  readonly #recent: RequestRecord[] = [];
  #done = 0;
  #failed = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(total: number, isShown: boolean) {
    if (!isShown) return;
    this.#bar = new SingleBar({
      format: '{bar} {value}/{total} | {duration_formatted} < {eta_formatted} | failed {failed} | p50 {medians}',
      stream: process.stderr,
      hideCursor: true,
      barsize: 24,
      etaBuffer: 50,
    });
    this.#bar.start(total, 0, { failed: 0, medians: '…' });
    this.#timer = setInterval(() => this.#draw(), UPDATE_MS);
    this.#timer.unref();
  }

  add(record: RequestRecord): void {
    this.#done += 1;
    if (!isSuccess(record)) this.#failed += 1;
    else this.#recent[this.#done % WINDOW] = record;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#bar?.stop();
  }

  #draw(): void {
    this.#bar?.update(this.#done, { failed: this.#failed, medians: this.#medians() });
  }

  #medians(): string {
    const recent = this.#recent.filter((record) => record !== undefined);
    if (recent.length === 0) return '…';
    const ttft = new Sample(recent.map((record) => record.ttft ?? 0)).median * 1000;
    const e2e = new Sample(recent.map((record) => record.endedAt - record.sentAt)).median * 1000;
    return `TTFT ${ttft.toFixed(0)} ms, E2E ${e2e.toFixed(0)} ms`;
  }
}

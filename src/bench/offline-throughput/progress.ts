// The progress bar of a run; silent where the stream is no terminal.
import { SingleBar } from 'cli-progress';
import { monotonicSeconds } from '../../util/clock.js';
import { Sample } from '../statistics/statistics.js';
import type { Outcome } from './run-all.js';

const UPDATE_MS = 250;

export class OfflineProgress {
  readonly #bar: SingleBar | undefined;
  readonly #latencies: number[] = [];
  readonly #startedAt = monotonicSeconds();
  #ended = 0;
  #tokens = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(total: number, stream: NodeJS.WriteStream, isDisabled: boolean) {
    if (isDisabled || stream.isTTY !== true) return;
    this.#bar = new SingleBar({
      format: '{bar} {value}/{total} | {duration_formatted} < {eta_formatted}{figures}',
      stream,
      hideCursor: true,
      barsize: 20,
    });
    this.#bar.start(total, 0, { figures: '' });
    this.#timer = setInterval(() => this.#draw(), UPDATE_MS);
    this.#timer.unref();
  }

  add({ error, interrupted, latency, completionTokens }: Outcome): void {
    this.#ended += 1;
    this.#tokens += completionTokens;
    if (error === '' && !interrupted) this.#latencies.push(latency);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#bar?.stop();
  }

  #draw(): void {
    if (this.#bar === undefined) return;
    const rate = (this.#tokens / (monotonicSeconds() - this.#startedAt)).toFixed(1);
    const median = new Sample(this.#latencies).median.toFixed(2);
    this.#bar.update(this.#ended, { figures: ` | p50 ${median} s | ${rate} tok/s` });
  }
}

// The figures on the progress bar of a run.
import { monotonicSeconds } from '../../util/clock.js';
import { Sample } from '../statistics/statistics.js';
import { ProgressBar, type ProgressSettings } from '../terminal/progress-bar.js';
import type { Outcome } from './run-all.js';

/** Median latency and tokens per second since the start. */
export class OfflineProgress {
  readonly #bar: ProgressBar;
  readonly #latencies: number[] = [];
  readonly #startedAt = monotonicSeconds();
  #tokens = 0;

  constructor(settings: ProgressSettings) {
    this.#bar = new ProgressBar(settings, () => {
      const rate = (this.#tokens / (monotonicSeconds() - this.#startedAt)).toFixed(1);
      return ` | p50 ${new Sample(this.#latencies).median.toFixed(2)} s | ${rate} tok/s`;
    });
  }

  add({ error, interrupted, latency, completionTokens }: Outcome): void {
    this.#bar.advance();
    this.#tokens += completionTokens;
    if (error === '' && !interrupted) this.#latencies.push(latency);
  }

  stop(): void {
    this.#bar.stop();
  }
}

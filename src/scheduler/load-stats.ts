// Counters of one scheduler, for /server_info, /metrics and the log.
import { monotonicSeconds } from '../util/clock.js';

export class LoadStats {
  forwardSteps = 0;
  promptTokens = 0;
  cachedTokens = 0;
  generatedTokens = 0;
  retractions = 0;
  aborted = 0;
  /** Generated tokens per second over the last decode interval. */
  genThroughput = 0;

  #decodeSteps = 0;
  #intervalTokens = 0;
  #intervalStart = monotonicSeconds();

  constructor(private readonly decodeLogInterval: number) {}

  /** Counts a finished step; true when a decode interval is complete (then genThroughput is new). */
  stepDone(decodeTokens: number): boolean {
    this.forwardSteps += 1;
    this.generatedTokens += decodeTokens;
    if (decodeTokens === 0) return false;
    this.#decodeSteps += 1;
    this.#intervalTokens += decodeTokens;
    if (this.#decodeSteps % this.decodeLogInterval !== 0) return false;
    const now = monotonicSeconds();
    this.genThroughput = this.#intervalTokens / Math.max(now - this.#intervalStart, 1e-9);
    this.#intervalStart = now;
    this.#intervalTokens = 0;
    return true;
  }

  /** The scheduler has nothing to do: time until the next step does not count, and a short interval is closed. */
  idle(): void {
    if (this.#intervalTokens > 0) {
      this.genThroughput = this.#intervalTokens / Math.max(monotonicSeconds() - this.#intervalStart, 1e-9);
    }
    this.#intervalTokens = 0;
    this.#decodeSteps = 0;
  }

  /** Work begins again after idleness. */
  busy(): void {
    this.#intervalStart = monotonicSeconds();
  }
}

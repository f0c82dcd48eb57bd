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
  #intervalStart = 0;

  constructor(private readonly decodeLogInterval: number) {}

  /**
   * Counts a finished step that generated so many tokens; `decoded`: it had decode rows.
   * True when a decode interval is complete and genThroughput is new.
   */
  stepDone(generated: number, decoded: boolean): boolean {
    this.forwardSteps += 1;
    this.generatedTokens += generated;
    this.#intervalTokens += generated;
    if (!decoded) return false;
    this.#decodeSteps += 1;
    if (this.#decodeSteps % this.decodeLogInterval !== 0) return false;
    this.#closeInterval();
    return true;
  }

  /** Nothing is left to do: a short interval is closed, and the time until the next request will not count. */
  idle(): void {
    if (this.#intervalTokens > 0) this.#closeInterval();
    this.#decodeSteps = 0;
  }

  /** Work begins after idleness. */
  busy(): void {
    this.#intervalStart = monotonicSeconds();
    this.#intervalTokens = 0;
  }

  #closeInterval(): void {
    const now = monotonicSeconds();
    this.genThroughput = this.#intervalTokens / Math.max(now - this.#intervalStart, 1e-9);
    this.#intervalStart = now;
    this.#intervalTokens = 0;
  }
}

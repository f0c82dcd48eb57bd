// How many prompt tokens a step may take while other requests decode: as many as keep the step within a multiple of a step of
// decodes alone. Learns what both cost from the steps that end.
import type { ScheduleBatch } from '../engine/schedule-batch.js';
import { RecentMedian } from './recent-median.js';

/** Steps that an estimate rests on. */
const DECODE_STEPS = 31;
const MIXED_STEPS = 7; // what a token costs grows with its context: the newest say it best
/** Fewer tokens are not worth a step: a prompt must come to its end. */
const LEAST_TOKENS = 8;
/** Times the largest recent chunk. What few tokens cost is the difference of two noisy times, and says little of many. */
const MOST_GROWTH = 2;

export class PrefillBudget {
  /** Seconds of a step of decodes alone. */
  readonly #decodeSeconds = new RecentMedian(DECODE_STEPS);
  /** Of steps with both: prompt tokens, and the seconds on top of one of decodes alone. */
  readonly #mixed: { readonly tokens: number; readonly seconds: number }[] = [];

  /** `stretch`: a step may take so many times a step of decodes alone; 0: no such limit. `mostTokens`: in any step. */
  constructor(
    private readonly stretch: number,
    private readonly mostTokens: number,
  ) {}

  /** Prompt tokens for a step with so many decode rows. */
  tokens(decodeRows: number): number {
    const decode = this.#decodeSeconds.value;
    if (decodeRows === 0 || this.stretch === 0 || decode === undefined) return this.mostTokens;
    let [tokens, seconds, largest] = [0, 0, LEAST_TOKENS];
    for (const step of this.#mixed) {
      tokens += step.tokens;
      seconds += step.seconds;
      largest = Math.max(largest, step.tokens);
    }
    const affordable = seconds > 0 ? Math.floor(((this.stretch - 1) * decode * tokens) / seconds) : Infinity;
    return Math.min(this.mostTokens, MOST_GROWTH * largest, Math.max(LEAST_TOKENS, affordable));
  }

  /** A step has ended after so many seconds of computing. */
  stepDone({ prefillTokens, decodeRows }: ScheduleBatch, seconds: number): void {
    if (prefillTokens === 0) {
      this.#decodeSeconds.add(seconds);
      return;
    }
    const decode = this.#decodeSeconds.value;
    if (decodeRows === 0 || decode === undefined) return;
    this.#mixed.push({ tokens: prefillTokens, seconds: seconds - decode });
    if (this.#mixed.length > MIXED_STEPS) this.#mixed.shift();
  }
}

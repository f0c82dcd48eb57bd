// How many prompt tokens a step may take while other requests decode: as many as keep the step within a multiple of a step of
// the same decodes alone. Learns what both cost from the steps that end. While prompts keep coming no step would be of decodes
// alone: now and then, and when their number has changed much, one is made so.
import type { ScheduleBatch } from '../engine/schedule-batch.js';

/** Steps that an estimate rests on. */
const DECODE_STEPS = 15;
const MIXED_STEPS = 7; // what a token costs grows with its context: the newest say it best
/** So many times more or fewer decodes are another step. */
const SAME_ROWS = 1.5;
/** Steps with both after which the cost of decodes alone is asked for again. */
const MIXED_BEFORE_PROBE = 16;
/** Fewer tokens are not worth a step: a prompt must come to its end. */
const LEAST_TOKENS = 8;
/** Times the largest recent chunk. What few tokens cost is the difference of two noisy times, and says little of many. */
const MOST_GROWTH = 2;

export class PrefillBudget {
  /** The last steps of decodes alone. */
  readonly #decodes: { readonly rows: number; readonly seconds: number }[] = [];
  /** The last steps with both: prompt tokens, and the seconds on top of their decodes. */
  readonly #mixed: { readonly tokens: number; readonly seconds: number }[] = [];
  #mixedInRow = 0;

  /** `stretch`: a step may take so many times a step of decodes alone; 0: no such limit. `mostTokens`: in any step. */
  constructor(
    private readonly stretch: number,
    private readonly mostTokens: number,
  ) {}

  /** Prompt tokens for a step with so many decode rows; 0: the step is to show what these cost alone. */
  tokens(decodeRows: number): number {
    if (decodeRows === 0 || this.stretch === 0) return this.mostTokens;
    const decode = this.#decodeSeconds(decodeRows);
    if (decode === undefined || this.#mixedInRow >= MIXED_BEFORE_PROBE) return 0;
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
      this.#mixedInRow = 0;
      push(this.#decodes, { rows: decodeRows, seconds }, DECODE_STEPS);
      return;
    }
    if (decodeRows === 0) return;
    this.#mixedInRow += 1;
    const decode = this.#decodeSeconds(decodeRows);
    if (decode !== undefined) push(this.#mixed, { tokens: prefillTokens, seconds: seconds - decode }, MIXED_STEPS);
  }

  /** The median of recent steps of about so many decodes alone: single slow ones (the machine was busy elsewhere) do not move it. */
  #decodeSeconds(rows: number): number | undefined {
    const alike = this.#decodes.filter((step) => step.rows <= rows * SAME_ROWS && step.rows * SAME_ROWS >= rows);
    return alike.map((step) => step.seconds).sort((a, b) => a - b)[alike.length >> 1];
  }
}

function push<T>(recent: T[], item: T, most: number): void {
  recent.push(item);
  if (recent.length > most) recent.shift();
}

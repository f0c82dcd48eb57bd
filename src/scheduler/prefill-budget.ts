// How many prompt tokens a step may take while other requests decode: as many as keep the step within a multiple of a step of
// decodes alone. Learns what both cost from the steps that end.
import type { ScheduleBatch } from '../engine/schedule-batch.js';

/** Weight of the newest step in the moving averages. */
const NEWEST = 0.25;
/** One slow step (the machine was busy elsewhere) says little: an average moves by this factor at most. */
const MOST_CHANGE = 4;
/** Fewer tokens are not worth a step: a prompt must come to its end. */
const LEAST_TOKENS = 8;

export class PrefillBudget {
  /** Seconds of a step of decodes alone, and of each prompt token on top; 0: not known yet. */
  #decodeSeconds = 0;
  #tokenSeconds = 0;

  /** `stretch`: a step may take so many times a step of decodes alone; 0: no such limit. `mostTokens`: in any step. */
  constructor(
    private readonly stretch: number,
    private readonly mostTokens: number,
  ) {}

  /** Prompt tokens for a step with so many decode rows. */
  tokens(decodeRows: number): number {
    if (decodeRows === 0 || this.stretch === 0 || this.#decodeSeconds === 0 || this.#tokenSeconds === 0)
      return this.mostTokens;
    const affordable = Math.floor(((this.stretch - 1) * this.#decodeSeconds) / this.#tokenSeconds);
    return Math.min(this.mostTokens, Math.max(LEAST_TOKENS, affordable));
  }

  /** A step has ended after so many seconds of computing. */
  stepDone(batch: ScheduleBatch, seconds: number): void {
    if (batch.prefillTokens === 0) {
      this.#decodeSeconds = average(this.#decodeSeconds, seconds);
      return;
    }
    if (batch.decodeRows > 0 && this.#decodeSeconds === 0) return; // which part is whose?
    const decodes = batch.decodeRows > 0 ? this.#decodeSeconds : 0;
    this.#tokenSeconds = average(this.#tokenSeconds, Math.max(0, seconds - decodes) / batch.prefillTokens);
  }
}

function average(old: number, newest: number): number {
  if (old === 0) return newest;
  const bounded = Math.min(old * MOST_CHANGE, Math.max(old / MOST_CHANGE, newest));
  return old + NEWEST * (bounded - old);
}

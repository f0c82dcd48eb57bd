// Which share of the tokens they may still generate is kept free for running requests when another one is started.
// Most requests end before their limit, so it starts below 1 and falls while all goes well; a retraction shows it was
// too low. (SGLang's new_token_ratio, with its constants.)
import type { Request } from '../engine/request.js';

const INITIAL = 0.7;
const LEAST = 0.14 * INITIAL;
const DECAY_STEPS = 600;
/** After a retraction, room for so many further tokens of each running request. */
const RETRACT_STEPS = 20;
/** A limit of a million tokens does not keep the cache empty. */
const MOST_RESERVED_TOKENS = 4096;

export class NewTokenRatio {
  #value = INITIAL;

  /** Tokens to keep free for the request. */
  reserve(newTokensLeft: number): number {
    return Math.ceil(Math.min(newTokensLeft, MOST_RESERVED_TOKENS) * this.#value);
  }

  decodeStep(): void {
    this.#value = Math.max(LEAST, this.#value - (INITIAL - LEAST) / DECAY_STEPS);
  }

  retracted(running: readonly Request[]): void {
    let generated = RETRACT_STEPS * running.length;
    let most = 1;
    for (const request of running) {
      generated += request.outputLen;
      most += request.maxLen - request.promptLen;
    }
    this.#value = Math.max(this.#value, Math.min(1, generated / most));
  }

  idle(): void {
    this.#value = INITIAL;
  }
}

// Log-probabilities that grow position by position and leave as the TokenLogprobs of a chunk.
import type { TokenLogprobs } from '../messages/outputs.js';

export type TokenPairs = readonly (readonly [id: number, logprob: number])[];

export class LogprobList {
  #ids: number[] = [];
  #values: (number | null)[] = [];
  #top: (TokenPairs | null)[] = [];
  #watched: (TokenPairs | null)[] = [];

  push(id: number, value: number | null, top: TokenPairs | null, watched: TokenPairs | null): void {
    this.#ids.push(id);
    this.#values.push(value);
    this.#top.push(top);
    this.#watched.push(watched);
  }

  /** Everything since the last call. */
  take(): TokenLogprobs {
    const taken = { ids: this.#ids, values: this.#values, top: this.#top, watched: this.#watched };
    this.#ids = [];
    this.#values = [];
    this.#top = [];
    this.#watched = [];
    return taken;
  }
}

// Log-probabilities of one request as they come in, position by position.
import type { TokenLogprobs } from '../messages/outputs.js';

export class LogprobList implements TokenLogprobs {
  readonly ids: number[] = [];
  readonly values: (number | null)[] = [];
  readonly top: (readonly (readonly [number, number])[] | null)[] = [];
  readonly watched: (readonly (readonly [number, number])[] | null)[] = [];

  /** Appends positions [0, count) of `from`. */
  append(from: TokenLogprobs, count: number): void {
    for (let i = 0; i < count; i++) {
      this.ids.push(from.ids[i]!);
      this.values.push(from.values[i] ?? null);
      this.top.push(from.top[i] ?? null);
      this.watched.push(from.watched[i] ?? null);
    }
  }
}

// Finds stop strings in text that grows token by token, however the text is cut into pieces.

export interface StopMatch {
  readonly stop: string;
  /** Text in front of the stop string that was not given out yet. */
  readonly before: string;
  /** The stop string and everything after it in the piece that completed it. */
  readonly rest: string;
}

/**
 * The match that ends first wins; of those that end together, the longest. So the result does not depend on how the text
 * is cut. One Knuth-Morris-Pratt automaton per stop string: constant time per character on average.
 */
export class StopStringMatcher {
  readonly #stops: readonly string[];
  readonly #failures: readonly Int32Array[];
  /** How much of each stop string the end of the text matches. */
  readonly #matched: Int32Array;
  /** Text that may be the beginning of a stop string. */
  #held = '';

  /** None of `stops` is empty. */
  constructor(stops: readonly string[]) {
    // Longest first: the first to complete at a character is the longest that ends there.
    this.#stops = [...stops].sort((a, b) => b.length - a.length);
    this.#failures = this.#stops.map(failureTable);
    this.#matched = new Int32Array(this.#stops.length);
  }

  /**
   * Takes the next piece of text. Returns the text that can no longer become part of a stop string, or the match.
   * `counts` false: a stop string that ends in this piece is no match (but text is tracked all the same).
   */
  push(piece: string, counts = true): string | StopMatch {
    const text = this.#held + piece;
    const start = this.#held.length;
    for (let i = start; i < text.length; i++) {
      const stop = this.#advance(text.charCodeAt(i));
      if (stop === null || !counts) continue;
      const at = i + 1 - stop.length;
      this.#held = '';
      return { stop, before: text.slice(0, at), rest: text.slice(at) };
    }
    const keep = this.#longestMatch();
    this.#held = keep === 0 ? '' : text.slice(text.length - keep);
    return keep === 0 ? text : text.slice(0, text.length - keep);
  }

  /** The end of the text: what was held back. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    this.#matched.fill(0);
    return held;
  }

  /** The stop string that is complete with this character. */
  #advance(char: number): string | null {
    let found: string | null = null;
    for (let s = 0; s < this.#stops.length; s++) {
      const stop = this.#stops[s]!;
      const failure = this.#failures[s]!;
      let length = this.#matched[s]!;
      while (length > 0 && stop.charCodeAt(length) !== char) length = failure[length - 1]!;
      if (stop.charCodeAt(length) === char) length += 1;
      if (length === stop.length) {
        found ??= stop;
        length = failure[length - 1]!;
      }
      this.#matched[s] = length;
    }
    return found;
  }

  #longestMatch(): number {
    let longest = 0;
    for (const length of this.#matched) if (length > longest) longest = length;
    return longest;
  }
}

/** Entry i: length of the longest proper prefix of `pattern` that ends at character i. */
function failureTable(pattern: string): Int32Array {
  const table = new Int32Array(pattern.length);
  let length = 0;
  for (let i = 1; i < pattern.length; i++) {
    while (length > 0 && pattern.charCodeAt(i) !== pattern.charCodeAt(length)) length = table[length - 1]!;
    if (pattern.charCodeAt(i) === pattern.charCodeAt(length)) length += 1;
    table[i] = length;
  }
  return table;
}

// Sections that come into being with the first request that needs them: until then, nothing is written.
import { WordList } from './word-list.js';

/** Integers, one or more per request; empty when all are the default. */
export class OptionalInts extends WordList {
  constructor(private readonly fallback: number) {
    super();
  }

  /** Entries are put in ascending order. */
  put(index: number, value: number): void {
    if (value === this.fallback && this.length === 0) return;
    while (this.length < index) this.pushInt(this.fallback);
    this.pushInt(value);
  }
}

/** The same for floats. */
export class OptionalFloats extends WordList {
  constructor(private readonly fallback: number) {
    super();
  }

  put(index: number, value: number): void {
    if (value === this.fallback && this.length === 0) return;
    while (this.length < index) this.pushFloat(this.fallback);
    this.pushFloat(value);
  }
}

/** Offsets of a list per request; empty when all lists are. */
export class CsrStarts extends WordList {
  /** Request `index` adds `count` entries to a section that has `total` so far. */
  open(index: number, count: number, total: number): void {
    if (count === 0 && total === 0) return;
    while (this.length < index) this.pushInt(0);
    this.pushInt(total);
  }

  /** All requests are there. */
  close(total: number): void {
    if (total > 0) this.pushInt(total);
  }
}

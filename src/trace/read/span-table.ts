// The complete events of a trace as columns of numbers, 32 bytes a span: what a summary needs and no more.

/** Columns that grow by doubling. Times in ns. */
export class SpanTable {
  length = 0;
  begin = new Float64Array(1024);
  duration = new Float64Array(1024);
  name = new Uint32Array(1024);
  /** Index into the tracks: one per pid and tid. */
  track = new Uint32Array(1024);
  /** Index into the shapes; 0: none. */
  shape = new Uint32Array(1024);
  category = new Uint16Array(1024);
  /** -1: none of its own. */
  layer = new Int16Array(1024);
  /** 0: no step; else 1 + index into the modes. */
  step = new Uint8Array(1024);

  /** Returns the row of a new span with its times; the other columns are zero and `layer` is -1. */
  add(begin: number, duration: number): number {
    if (this.length === this.begin.length) this.#grow();
    const row = this.length++;
    this.begin[row] = begin;
    this.duration[row] = duration;
    this.layer[row] = -1;
    return row;
  }

  /**
   * Rows by track, each track's in the order of their beginning, outer spans before inner ones. Of spans with the same
   * times the one whose category has the higher `outer` comes first, then the one that was added first.
   */
  rowsByTrack(tracks: number, outer: Uint8Array): Uint32Array[] {
    const counts = new Uint32Array(tracks);
    for (let row = 0; row < this.length; row++) counts[this.track[row]!]!++;
    const rows = Array.from(counts, (count) => new Uint32Array(count));
    const filled = new Uint32Array(tracks);
    for (let row = 0; row < this.length; row++) {
      const track = this.track[row]!;
      rows[track]![filled[track]!++] = row;
    }
    for (const list of rows) if (!this.#isOrdered(list, outer)) list.sort((a, b) => this.#compare(a, b, outer));
    return rows;
  }

  #compare(a: number, b: number, outer: Uint8Array): number {
    return (
      this.begin[a]! - this.begin[b]! ||
      this.duration[b]! - this.duration[a]! ||
      outer[this.category[b]!]! - outer[this.category[a]!]! ||
      a - b
    );
  }

  #isOrdered(rows: Uint32Array, outer: Uint8Array): boolean {
    for (let i = 1; i < rows.length; i++) if (this.#compare(rows[i - 1]!, rows[i]!, outer) > 0) return false;
    return true;
  }

  #grow(): void {
    const capacity = 2 * this.begin.length;
    const grown = <T extends { set(from: T): void }>(column: T, wider: T): T => {
      wider.set(column);
      return wider;
    };
    this.begin = grown(this.begin, new Float64Array(capacity));
    this.duration = grown(this.duration, new Float64Array(capacity));
    this.name = grown(this.name, new Uint32Array(capacity));
    this.track = grown(this.track, new Uint32Array(capacity));
    this.shape = grown(this.shape, new Uint32Array(capacity));
    this.category = grown(this.category, new Uint16Array(capacity));
    this.layer = grown(this.layer, new Int16Array(capacity));
    this.step = grown(this.step, new Uint8Array(capacity));
  }
}

/** Strings as dense numbers from 0, in the order of their coming. Those after `limit` share the last number. */
export class StringTable {
  readonly values: string[] = [];
  readonly #ids = new Map<string, number>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  id(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    if (this.values.length >= this.#limit) return this.#limit - 1;
    const id = this.values.length;
    this.values.push(text);
    this.#ids.set(text, id);
    return id;
  }
}

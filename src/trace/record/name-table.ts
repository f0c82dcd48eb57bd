// Strings as small numbers: names of spans, threads, requests. Bounded, so that hostile or endless names cannot grow it.

export interface NameTableLimits {
  readonly maxNames: number;
  /** Longer names are cut, in UTF-16 units. */
  readonly maxLength: number;
}

/** Ids are dense and start at 0, which is the name for everything that came after the table was full. */
export class NameTable {
  readonly #ids = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #limits: NameTableLimits;
  #handedOut = 0;

  constructor(limits: NameTableLimits = { maxNames: 65_536, maxLength: 1024 }) {
    this.#limits = limits;
    this.intern('(other names)');
  }

  get size(): number {
    return this.#names.length;
  }

  intern(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    const { maxNames, maxLength } = this.#limits;
    if (name.length > maxLength) return this.intern(`${name.slice(0, maxLength - 1)}…`);
    if (this.#names.length >= maxNames) return 0;
    const id = this.#names.length;
    this.#names.push(name);
    this.#ids.set(name, id);
    return id;
  }

  /** The names that the receiver of the last call does not know yet; their ids follow on. */
  takeNew(): string[] {
    const fresh = this.#names.slice(this.#handedOut);
    this.#handedOut = this.#names.length;
    return fresh;
  }

  /** A new receiver starts: it needs every name again. */
  rewind(): void {
    this.#handedOut = 0;
  }
}

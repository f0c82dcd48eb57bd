// The benches' own random numbers: xoshiro128** (Blackman and Vigna, 2018), seeded by name, so that the same --seed gives
// the same workload on any machine, whatever is drawn elsewhere. It is not Python's generator.

/** Independent streams of one seed: `new Random(1, 'arrivals')` does not depend on what `new Random(1, 'lengths')` drew. */
export class Random {
  readonly #state = new Uint32Array(4);

  constructor(seed: number, stream: string) {
    let hash = hashText(`${seed}/${stream}`);
    for (let i = 0; i < 4; i++) {
      hash = (hash + 0x9e3779b9) | 0;
      this.#state[i] = mix(hash);
    }
  }

  /** 0 … 2^32 - 1. */
  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = rotateLeft(s[3]!, 11);
    return result;
  }

  /** In [0, 1), 53 bits. */
  fraction(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  /** Uniform in [low, high], both included; at most 2^32 values. */
  integer(low: number, high: number): number {
    const count = high - low + 1;
    // Draws above the last whole multiple of `count` would favour small values.
    const limit = 2 ** 32 - (2 ** 32 % count);
    let drawn = this.uint32();
    while (drawn >= limit) drawn = this.uint32();
    return low + (drawn % count);
  }

  exponential(mean: number): number {
    return -Math.log1p(-this.fraction()) * mean;
  }

  /** In place (Fisher and Yates). */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(0, i);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }
}

const rotateLeft = (value: number, bits: number): number => ((value << bits) | (value >>> (32 - bits))) >>> 0;

/** FNV-1a over UTF-16 units. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** The finaliser of MurmurHash3: spreads nearby inputs over all bits. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

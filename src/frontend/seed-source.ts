// Seeds of requests that bring none: a fixed sequence from one start value, so that a whole run can be repeated.
import { randomInt } from 'node:crypto';

/** splitmix64, cut to 53 bits (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"). */
export class SeedSource {
  #state: bigint;

  /** `seed` undefined: a random sequence. */
  constructor(seed: number | undefined) {
    this.#state = BigInt(seed ?? randomInt(2 ** 47));
  }

  /** An integer in [0, 2^53). */
  next(): number {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e3779b97f4a7c15n);
    let z = this.#state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) >> 11n);
  }
}

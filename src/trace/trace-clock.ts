// How trace times relate: performance.now() → CLOCK_MONOTONIC → wall clock, and which host's clock it is.
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { monotonicNs } from '../util/clock.js';

/**
 * CLOCK_MONOTONIC without allocation: performance.now() reads the same clock, minus a fixed origin that is measured here
 * to within the time of one call (tens of nanoseconds).
 */
export class SpanClock {
  /** CLOCK_MONOTONIC at 0 of now(). */
  readonly baseNs: bigint;

  constructor() {
    let narrowest = Number.POSITIVE_INFINITY;
    let base = 0n;
    for (let i = 0; i < 64; i++) {
      const before = performance.now();
      const monotonic = monotonicNs();
      const after = performance.now();
      if (after - before >= narrowest) continue;
      narrowest = after - before;
      base = monotonic - BigInt(Math.round(((before + after) / 2) * 1e6));
    }
    this.baseNs = base;
  }

  /** Integer nanoseconds of CLOCK_MONOTONIC after baseNs. */
  now(): number {
    return Math.round(performance.now() * 1e6);
  }
}

/**
 * Wall clock minus CLOCK_MONOTONIC, in nanoseconds. Normally the start time of the process plus its age, good to a
 * microsecond; where the wall clock has been set since, the tick of Date.now() is awaited instead (at most 1 ms).
 */
export function monotonicToWallNs(): bigint {
  const wallMs = performance.timeOrigin + performance.now();
  const monotonic = monotonicNs();
  if (Math.abs(wallMs - Date.now()) < 2) {
    const whole = Math.floor(wallMs);
    return BigInt(whole) * 1_000_000n + BigInt(Math.round((wallMs - whole) * 1e6)) - monotonic;
  }
  const start = Date.now();
  let tick = start;
  while (tick === start) tick = Date.now();
  return BigInt(tick) * 1_000_000n - monotonicNs();
}

/** The boot id of this host: processes that share it share CLOCK_MONOTONIC. '' where there is none. */
export function hostId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

// The one clock: CLOCK_MONOTONIC, shared with C++ (and later CUPTI). Wall time is only for people.

/** Nanoseconds of CLOCK_MONOTONIC. */
export function monotonicNs(): bigint {
  return process.hrtime.bigint();
}

/** Seconds of CLOCK_MONOTONIC, with sub-microsecond resolution. */
export function monotonicSeconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds + nanoseconds * 1e-9;
}

/** Seconds since the Unix epoch, with a fraction. */
export function unixSeconds(): number {
  return Date.now() / 1000;
}

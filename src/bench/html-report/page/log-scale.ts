// Ends and ticks of logarithmic axes: uPlot's own end at whole powers, which can leave half of a chart empty, and have few
// ticks between them.

export type LogBase = 2 | 10;

/** Ends that differ by less are the same: data has a hair around it. */
const HAIR = 1e-6;
/** Powers of ten up to which there are ticks at 2 and 5 times a power too. */
const MOST_POWERS = 3;

/** The next power of 2, or the next value of one digit (0.03, 200, …), below `min` and above `max`. */
export function logRange(min: number, max: number, base: LogBase): [number, number] {
  if (!(min > 0)) return [1, base];
  const unit = (value: number) => (base === 2 ? 1 : 10 ** Math.floor(Math.log10(value)));
  const floor = (value: number) => (base === 2 ? 2 ** Math.floor(Math.log2(value)) : Math.floor(value));
  const low = floor((min / unit(min)) * (1 + HAIR)) * unit(min);
  const top = (max / unit(max)) * (1 - HAIR);
  const high = (base === 2 ? 2 ** Math.ceil(Math.log2(top)) : Math.ceil(top)) * unit(max);
  // What lies at an end is inside.
  return [low * (1 - HAIR), (high > low ? high : low * base) * (1 + HAIR)];
}

/** Powers of the base from `min` to `max`, and 2 and 5 times the powers of ten where these are few. */
export function logTicks(min: number, max: number, base: LogBase): number[] {
  const log = base === 2 ? Math.log2 : Math.log10;
  const isShort = base === 10 && log(max / min) <= MOST_POWERS;
  const factors = isShort ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let power = Math.floor(log(min)); power <= Math.ceil(log(max)); power++) {
    ticks.push(...factors.map((factor) => Number((factor * base ** power).toPrecision(6))));
  }
  return ticks.filter((tick) => tick >= min * (1 - HAIR) && tick <= max * (1 + HAIR));
}

// Numbers as the page shows them, with their units.

/** Three significant digits, with groups of thousands. */
export function formatNumber(value: number): string {
  if (value === 0) return '0';
  const size = Math.floor(Math.log10(Math.abs(value)));
  const decimals = Math.max(0, Math.min(6, 2 - size));
  return value.toLocaleString('en-US', { maximumFractionDigits: decimals });
}

/** `850 µs`, `12.3 ms`, `1.25 s`. */
export function formatSeconds(seconds: number): string {
  const size = Math.abs(seconds);
  if (size === 0) return '0';
  if (size < 1e-3) return `${formatNumber(seconds * 1e6)} µs`;
  if (size < 1) return `${formatNumber(seconds * 1e3)} ms`;
  return `${formatNumber(seconds)} s`;
}

/** A moment of a run, to the millisecond. */
export function formatMoment(seconds: number): string {
  return `${seconds.toLocaleString('en-US', { maximumFractionDigits: 3 })} s`;
}

/** 0.999 → `99.9 %`. */
export function formatShare(share: number): string {
  return `${(share * 100).toLocaleString('en-US', { maximumFractionDigits: 3 })} %`;
}

// The Kineto dialect of Chrome trace JSON: numbers, texts, and the file around the events. Times in files are
// microseconds with three decimals after `baseTimeNanoseconds`; in memory they are integer nanoseconds.
// Source: libkineto/src/output_json.cpp (PyTorch) and the Trace Event Format of Chrome.

/** An entry of `deviceProperties`; Kineto's keys for GPUs, `kind: 'cpu'` for ours. */
export type DeviceProperties = Readonly<Record<string, string | number | boolean>>;

/** Kineto's key of the same name; the per-axis ranks are ours. */
export interface DistributedInfo {
  readonly backend: string;
  readonly rank: number;
  readonly world_size: number;
  readonly pg_count?: number;
  readonly pg_config?: readonly unknown[];
  readonly nccl_version?: string;
}

/** Position of a rank on each axis of parallelism; an axis of size 1 is left out, as in file names. */
export interface TraceRanks {
  readonly tp?: number;
  readonly dp?: number;
  readonly pp?: number;
  readonly ep?: number;
}

/** Our own top-level key `vitrine`: what the merger and the summary need to know about a file. */
export interface VitrineMetadata {
  readonly version: string;
  readonly profileId: string;
  readonly stage?: string;
  readonly ranks: TraceRanks;
  /** Boot id: files with the same one share CLOCK_MONOTONIC. */
  readonly hostId: string;
  /** Wall clock minus CLOCK_MONOTONIC that this file was written with; a decimal string, it exceeds 2^53. */
  readonly monotonicToWallNs: string;
  /** To be added to this file's times to get those of the reference host; a decimal string. */
  readonly clockOffsetNs?: string;
  /** Flow categories whose ids mean the same in every file of the profile; the merger leaves them alone. */
  readonly sharedFlowCategories?: readonly string[];
  /** What was asked for and is not in the file, and why; one line each. */
  readonly warnings?: readonly string[];
  readonly droppedRecords: number;
  /** Why records were dropped, e.g. `buffer` or `max_bytes`, with counts. */
  readonly dropped?: Readonly<Record<string, number>>;
}

/** GPU processes come last in viewers. */
export const GPU_SORT_INDEX = 5_000_000;

const BASE_INTERVAL_NS = 7_889_238_000_000_000n;

/** `baseTimeNanoseconds`: a wall time floored to Kineto's interval of about three months (7 889 238 s). */
export function traceBaseNs(wallNs: bigint): bigint {
  return (wallNs / BASE_INTERVAL_NS) * BASE_INTERVAL_NS;
}

/** Integer nanoseconds (|ns| < 2^53) as microseconds with exactly three decimals. */
export function formatMicroseconds(ns: number): string {
  if (ns < 0) return `-${formatMicroseconds(-ns)}`;
  const rest = ns % 1000;
  const whole = (ns - rest) / 1000;
  return `${whole}.${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}`;
}

const PLAIN_DECIMAL = /^(-?)(\d{1,13})(?:\.(\d+))?$/;

/**
 * The JSON number `text`, in microseconds, as integer nanoseconds; exact to the third decimal, further ones are rounded.
 * NaN where it is no finite number.
 */
export function parseMicroseconds(text: string): number {
  const match = PLAIN_DECIMAL.exec(text);
  if (match === null) {
    const value = text === '' ? Number.NaN : Number(text);
    return Number.isFinite(value) ? Math.round(value * 1000) : Number.NaN;
  }
  const digits = match[3] ?? '';
  const fraction =
    digits.length <= 3 ? Number(digits.padEnd(3, '0')) : Math.round(Number(`${digits.slice(0, 3)}.${digits.slice(3)}`));
  const ns = Number(match[2]) * 1000 + fraction;
  return match[1] === '-' ? -ns : ns;
}

/** A JSON string literal of any JavaScript string. Lone surrogates, which some readers refuse, become U+FFFD. */
export function quoteJson(text: string): string {
  const quoted = JSON.stringify(text);
  return quoted.includes('\\ud') ? JSON.stringify(Buffer.from(text, 'utf8').toString('utf8')) : quoted;
}

// What a Vitrine server tells of a profile, as JSON: the answer of /start_profile, /stop_profile and /profile_status.
import { isJsonObject } from '../../util/read-json.js';

export interface ReportedFile {
  readonly path: string;
  /** `trace` or `memory`. */
  readonly kind: string;
  /** null: not by stage. */
  readonly stage: string | null;
  readonly steps: number;
  readonly first_step: number | null;
  readonly last_step: number | null;
  /** Compressed, and of text. */
  readonly bytes: number;
  readonly text_bytes: number;
  readonly events: number;
  readonly dropped_records: number;
}

export interface MergedFile {
  readonly path: string;
  readonly events: number;
  /** Files that could not be merged, and why. */
  readonly skipped?: readonly { readonly path: string; readonly reason: string }[];
}

export interface ProfileReport {
  readonly profile_id: string;
  readonly state: 'armed' | 'recording' | 'flushing' | 'done' | 'failed';
  readonly output_dir: string;
  /** null: until stopped. */
  readonly planned_steps: number | null;
  readonly recorded_steps: number;
  /** Why recording ended: num_steps, stop, max_seconds, max_bytes, shutdown, error; null while it goes on. */
  readonly ended_by: string | null;
  readonly files: readonly ReportedFile[];
  /** null: not asked for. */
  readonly merge: {
    readonly state: 'waiting' | 'running' | 'done' | 'failed';
    readonly files: readonly MergedFile[];
    readonly error: string | null;
  } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

const STATES: readonly unknown[] = ['armed', 'recording', 'flushing', 'done', 'failed'];

/** The report in an answer; undefined where it is none, as from servers that answer with a sentence. */
export function parseReport(text: string): ProfileReport | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value) || typeof value.profile_id !== 'string' || !STATES.includes(value.state)) return undefined;
  const { files, merge, error } = value;
  const report = value as unknown as ProfileReport;
  return {
    ...report,
    files: Array.isArray(files) ? (files as ReportedFile[]) : [],
    merge: isJsonObject(merge) ? { ...report.merge!, files: report.merge!.files ?? [] } : null,
    error: isJsonObject(error) ? report.error : null,
  };
}

/** Nothing more will change. */
export function isSettled({ state, merge }: ProfileReport): boolean {
  return state === 'failed' || (state === 'done' && merge?.state !== 'running' && merge?.state !== 'waiting');
}

/** Its steps, or the first of them, are still to come. */
export function isUnderWay({ state }: ProfileReport): boolean {
  return state === 'armed' || state === 'recording';
}

/** `recording, 2 of 5 steps recorded`. */
export function describeProgress({ state, recorded_steps: recorded, planned_steps: planned, merge }: ProfileReport) {
  if (state === 'done' && merge?.state === 'running') return 'merging the files of the ranks';
  if (state === 'done' && merge?.state === 'waiting') return 'waiting for the files of all ranks, to merge them';
  return `${state}, ${recorded}${planned === null ? '' : ` of ${planned}`} steps recorded`;
}

function size(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}

function describeSteps({ steps, first_step: first, last_step: last }: ReportedFile): string {
  if (steps === 0) return 'no step';
  return steps === 1 ? `step ${first}` : `${steps} steps (${first} to ${last})`;
}

/** A line for each file, then lines about the merge. */
export function renderFiles({ files, merge }: ProfileReport): string[] {
  const lines = files.map((file) => {
    const facts = [
      describeSteps(file),
      `${file.events} events`,
      `${size(file.bytes)} (${size(file.text_bytes)} of text)`,
    ];
    if (file.dropped_records > 0) facts.push(`${file.dropped_records} records dropped`);
    return `${file.path}: ${(file.kind === 'trace' ? facts : [facts[0], facts[2]]).join(', ')}`;
  });
  return [...lines, ...(merge?.files ?? []).map(({ path, events }) => `${path}: merged, ${events} events`)];
}

/** A line for a file of a server that does not report. */
export function renderFoundFile({ path, bytes, events }: { path: string; bytes: number; events: number }): string {
  return `${path}: ${events} events, ${size(bytes)}`;
}

// Which rows of two result files belong together: rows of one workload are runs of it, and workloads are matched.
import { isWhole, type ResultRow } from '../results/figures.js';
import type { ResultFile } from '../results/result-file.js';
import { kindOf, type ResultKind } from '../results/result-kinds.js';

/** The runs of one workload by one setup in one file. */
export interface RunGroup {
  readonly path: string;
  readonly kind: ResultKind;
  readonly rows: readonly ResultRow[];
  /** Rows left out because their run was cut short. */
  readonly cutShort: number;
}

export interface KeyDifference {
  readonly key: string;
  readonly a: unknown;
  readonly b: unknown;
}

export interface MatchedGroups {
  readonly a: RunGroup;
  readonly b: RunGroup;
  /** Keys of the workload in which they differ all the same: the only ones left of their files. */
  readonly differences: readonly KeyDifference[];
}

export interface Matches {
  readonly matched: readonly MatchedGroups[];
  readonly onlyA: readonly RunGroup[];
  readonly onlyB: readonly RunGroup[];
}

/** Keys that say what was measured with: runs that differ in them have no spread in common. */
const SETUP = ['backend', 'tag', 'run_name'];

const setupOf = (row: ResultRow): string => JSON.stringify(SETUP.map((key) => row[key] ?? null));

/** Runs of one workload and one setup, in the order of the file. */
export function groupRuns({ path, rows }: ResultFile): RunGroup[] {
  const groups = new Map<string, { kind: ResultKind; rows: ResultRow[]; cutShort: number }>();
  for (const row of rows) {
    const kind = kindOf(row)!;
    const key = JSON.stringify([kind.program, workloadOf(kind, row), setupOf(row)]);
    const group = groups.get(key) ?? { kind, rows: [], cutShort: 0 };
    groups.set(key, group);
    if (isWhole(row)) group.rows.push(row);
    else group.cutShort += 1;
  }
  return [...groups.values()].filter((group) => group.rows.length > 0).map((group) => ({ path, ...group }));
}

/** The keys of the workload that the row has, and the options beyond them. */
export function workloadOf({ workload }: ResultKind, row: ResultRow): ResultRow {
  const keys = workload.filter((key) => row[key] !== undefined && row[key] !== null);
  const given = row.workload_args as ResultRow | undefined;
  return { ...Object.fromEntries(keys.map((key) => [key, row[key]])), ...given };
}

/** A key that one side lacks (SGLang saves neither seed nor number of prompts) tells no difference. */
function differences(a: RunGroup, b: RunGroup): KeyDifference[] {
  const ofKeys = a.kind.workload.flatMap((key) => {
    const [left, right] = [a.rows[0]![key], b.rows[0]![key]];
    return left === undefined || right === undefined || left === right ? [] : [{ key, a: left, b: right }];
  });
  return [...ofKeys, ...argumentDifferences(a.rows[0]!, b.rows[0]!)];
}

/** Options that are not the default are saved: one that is missing beside others is the default. */
function argumentDifferences(a: ResultRow, b: ResultRow): KeyDifference[] {
  const [left, right] = [a.workload_args, b.workload_args] as (ResultRow | undefined)[];
  if (left === undefined || right === undefined) return [];
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  const textOf = (row: ResultRow, key: string): string => (key in row ? JSON.stringify(row[key]) : 'default');
  const all = [...keys].map((key) => ({ key, a: textOf(left, key), b: textOf(right, key) }));
  return all.filter(({ a, b }) => a !== b);
}

/** Groups of one workload; those of one setup first, where there are several. */
export function matchWorkloads(a: readonly RunGroup[], b: readonly RunGroup[]): Matches {
  const partners = new Map<RunGroup, RunGroup>();
  const free = new Set(b);
  for (const needsSetup of [true, false]) {
    for (const group of a.filter((one) => !partners.has(one))) {
      const fits = (other: RunGroup): boolean =>
        other.kind === group.kind &&
        differences(group, other).length === 0 &&
        (!needsSetup || setupOf(group.rows[0]!) === setupOf(other.rows[0]!));
      const partner = [...free].find(fits);
      if (partner === undefined) continue;
      free.delete(partner);
      partners.set(group, partner);
    }
  }
  const matched = a.flatMap((group): MatchedGroups[] => {
    const partner = partners.get(group);
    return partner === undefined ? [] : [{ a: group, b: partner, differences: [] }];
  });
  const onlyA = a.filter((group) => !partners.has(group));
  const [lastA, lastB] = [onlyA[0], [...free][0]];
  if (onlyA.length === 1 && free.size === 1 && lastA!.kind === lastB!.kind) {
    matched.push({ a: lastA!, b: lastB!, differences: differences(lastA!, lastB!) });
    return { matched, onlyA: [], onlyB: [] };
  }
  return { matched, onlyA, onlyB: [...free] };
}

// Which rows of two result files belong together: rows of one workload are runs of it, and workloads are matched.
import { isWhole, type ResultRow } from '../results/figures.js';
import type { ResultFile } from '../results/result-file.js';
import { kindOf, type ResultKind } from '../results/result-kinds.js';

/** The runs of one workload in one file. */
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

/** In the order of the file. */
export function groupRuns({ path, rows }: ResultFile): RunGroup[] {
  const groups = new Map<string, { kind: ResultKind; rows: ResultRow[]; cutShort: number }>();
  for (const row of rows) {
    const kind = kindOf(row)!;
    const key = JSON.stringify([kind.program, ...kind.workload.map((name) => row[name] ?? null)]);
    const group = groups.get(key) ?? { kind, rows: [], cutShort: 0 };
    groups.set(key, group);
    if (isWhole(row)) group.rows.push(row);
    else group.cutShort += 1;
  }
  return [...groups.values()].filter((group) => group.rows.length > 0).map((group) => ({ path, ...group }));
}

/** A key that one side lacks (SGLang saves neither seed nor number of prompts) tells no difference. */
function differences(a: RunGroup, b: RunGroup): KeyDifference[] {
  return a.kind.workload.flatMap((key) => {
    const [left, right] = [a.rows[0]![key], b.rows[0]![key]];
    return left === undefined || right === undefined || left === right ? [] : [{ key, a: left, b: right }];
  });
}

export function matchWorkloads(a: readonly RunGroup[], b: readonly RunGroup[]): Matches {
  const matched: MatchedGroups[] = [];
  const onlyA: RunGroup[] = [];
  const free = new Set(b);
  for (const group of a) {
    const same = [...free].find((other) => other.kind === group.kind && differences(group, other).length === 0);
    if (same === undefined) {
      onlyA.push(group);
    } else {
      free.delete(same);
      matched.push({ a: group, b: same, differences: [] });
    }
  }
  const [lastA, lastB] = [onlyA[0], [...free][0]];
  if (onlyA.length === 1 && free.size === 1 && lastA!.kind === lastB!.kind) {
    matched.push({ a: lastA!, b: lastB!, differences: differences(lastA!, lastB!) });
    return { matched, onlyA: [], onlyB: [] };
  }
  return { matched, onlyA, onlyB: [...free] };
}

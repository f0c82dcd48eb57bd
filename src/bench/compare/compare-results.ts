// The comparison of several result files with one of them, and its two forms: tables for people, JSON for programs.
import { closest } from '../../config/closest.js';
import { VitrineError } from '../../util/errors.js';
import { type ResultRow, readFigures, readKey } from '../results/figures.js';
import type { ResultFile } from '../results/result-file.js';
import { type Comparison, compareGroups, isRegression } from './compare-figures.js';
import { groupRuns, type KeyDifference, type MatchedGroups, matchWorkloads, type RunGroup } from './match-workloads.js';

export interface WorkloadComparison extends MatchedGroups {
  /** What else differs and may explain the figures: backend, model, lengths, failures. */
  readonly context: readonly KeyDifference[];
  readonly comparisons: readonly Comparison[];
}

/** One file against the baseline. */
export interface FileComparison {
  readonly baseline: string;
  readonly path: string;
  readonly workloads: readonly WorkloadComparison[];
  readonly onlyBaseline: readonly RunGroup[];
  readonly onlyOther: readonly RunGroup[];
}

const CONTEXT = [
  'backend',
  'tag',
  'run_name',
  'server_info.model_path',
  'server_info.version',
  'total_input_tokens',
  'total_output_tokens',
  'failed',
];

/**
 * `metrics`: keys to compare; undefined for the main ones of each program.
 * @throws VitrineError INVALID_OPTION for a key that no result has
 */
export function compareResults(
  baseline: ResultFile,
  others: readonly ResultFile[],
  metrics: readonly string[] | undefined,
): FileComparison[] {
  if (metrics !== undefined)
    checkMetrics(
      metrics,
      [baseline, ...others].flatMap(({ rows }) => rows),
    );
  const groups = groupRuns(baseline);
  return others.map((other) => {
    const { matched, onlyA, onlyB } = matchWorkloads(groups, groupRuns(other));
    const workloads = matched.map((match) => ({
      ...match,
      context: contextDifferences(match),
      comparisons: compareGroups(match, metrics ?? match.a.kind.metrics),
    }));
    return { baseline: baseline.path, path: other.path, workloads, onlyBaseline: onlyA, onlyOther: onlyB };
  });
}

function checkMetrics(metrics: readonly string[], rows: readonly ResultRow[]): void {
  for (const metric of metrics) {
    if (readFigures(rows, metric).length > 0) continue;
    const known = [...new Set(rows.flatMap((row) => Object.keys(row).filter((key) => typeof row[key] === 'number')))];
    const similar = closest(metric, known);
    const hint = similar.length > 0 ? `; did you mean ${similar.join(' or ')}?` : '';
    throw new VitrineError('INVALID_OPTION', `--metrics: no result has a number under '${metric}'${hint}`, {
      param: '--metrics',
    });
  }
}

function contextDifferences({ a, b }: MatchedGroups): KeyDifference[] {
  return CONTEXT.flatMap((key) => {
    const values = ({ rows }: RunGroup) => [...new Set(rows.map((row) => readKey(row, key) ?? null))];
    const [left, right] = [values(a), values(b)];
    if (left.every((value) => value === null) || right.every((value) => value === null)) return [];
    return JSON.stringify(left) === JSON.stringify(right) ? [] : [{ key, a: left.join(', '), b: right.join(', ') }];
  });
}

/** Figures that are worse by more than `percent` %. */
export function regressions(comparisons: readonly FileComparison[], percent: number): Comparison[] {
  const all = comparisons.flatMap(({ workloads }) => workloads.flatMap(({ comparisons: figures }) => figures));
  return all.filter((comparison) => isRegression(comparison, percent));
}

/** Keys as in result files; undefined is null. */
export function comparisonObject(files: readonly FileComparison[]): object {
  const group = ({ path, rows, cutShort }: RunGroup) => ({ file: path, runs: rows.length, cut_short: cutShort });
  const workloadOf = ({ kind, rows }: RunGroup) =>
    Object.fromEntries(kind.workload.map((key) => [key, rows[0]![key] ?? null]));
  const unmatched = (run: RunGroup) => ({ ...group(run), program: run.kind.program, workload: workloadOf(run) });
  return {
    comparisons: files.flatMap(({ workloads }) =>
      workloads.map(({ a, b, differences, context, comparisons }) => ({
        program: a.kind.program,
        workload: workloadOf(a),
        a: group(a),
        b: group(b),
        workload_differences: differences,
        context_differences: context,
        metrics: comparisons.map(({ metric, better, a: left, b: right, ...rest }) => ({
          metric,
          better,
          a: { ...left, spread: left.spread ?? null },
          b: { ...right, spread: right.spread ?? null },
          difference_percent: rest.differencePercent ?? null,
          ci95_difference_percent: rest.intervalPercent ?? null,
          verdict: rest.verdict,
        })),
      })),
    ),
    only_in_baseline: files.flatMap(({ onlyBaseline }) => onlyBaseline.map(unmatched)),
    only_in_others: files.flatMap(({ onlyOther }) => onlyOther.map(unmatched)),
  };
}

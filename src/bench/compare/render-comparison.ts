// The tables of bench-compare, for the terminal and for its report.
import type { Table } from '../html-report/page/report-data.js';
import type { Comparison, Side } from './compare-figures.js';
import type { FileComparison, WorkloadComparison } from './compare-results.js';
import { type KeyDifference, type RunGroup, workloadOf } from './match-workloads.js';

const RULE = [
  'Values are medians ± half the interquartile range of the runs. The interval is Welch’s 95 % interval of the difference of',
  'the means: a difference is better or worse where it leaves out 0. Of twenty equal figures one leaves it out by chance.',
];

export function renderComparisons(files: readonly FileComparison[]): string[] {
  return [...files.flatMap(renderFile), '', ...RULE];
}

/** A table for each workload that two files have in common. */
export function comparisonTables(files: readonly FileComparison[]): Table[] {
  return files.flatMap(({ workloads }) =>
    workloads.map((workload): Table => {
      const [columns, ...rows] = tableOf(workload.comparisons);
      const notes = [...describeSides(workload), ...RULE];
      return { title: describeWorkload(workload.a), columns: columns!, rows, note: notes.join(' ') };
    }),
  );
}

function renderFile({ baseline, path, workloads, onlyBaseline, onlyOther }: FileComparison): string[] {
  const lines = workloads.flatMap(renderWorkload);
  if (workloads.length === 0) lines.push('', `${baseline} and ${path} have no workload in common`);
  for (const group of [...onlyBaseline, ...onlyOther]) lines.push(`only in ${group.path}: ${describeWorkload(group)}`);
  return lines;
}

function describeWorkload({ kind, rows }: RunGroup): string {
  const keys = Object.entries(workloadOf(kind, rows[0]!)).map(([key, value]) => {
    return `${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`;
  });
  return `${kind.program} ${keys.join(' ')}`;
}

function renderWorkload(workload: WorkloadComparison): string[] {
  const { a, comparisons } = workload;
  const sides = describeSides(workload).map((line) => `  ${line}`);
  return ['', describeWorkload(a), ...sides, ...renderTable(comparisons)];
}

function describeSides({ a, b, differences, context }: WorkloadComparison): string[] {
  const side = (name: string, { path, rows, cutShort }: RunGroup): string => {
    const left = cutShort > 0 ? `, without ${cutShort} cut short` : '';
    return `${name}: ${path}, ${rows.length} run${rows.length === 1 ? '' : 's'}${left}`;
  };
  const differs = (title: string, found: readonly KeyDifference[]): string[] =>
    found.length === 0 ? [] : [`${title}: ${found.map(({ key, a, b }) => `${key} ${a} → ${b}`).join('; ')}`];
  return [
    ...[side('a', a), side('b', b)],
    ...differs('The workloads differ', differences),
    ...differs('Also differs', context),
  ];
}

/** The heading and a row for each figure. */
function tableOf(comparisons: readonly Comparison[]): string[][] {
  const rows = comparisons.map(({ metric, a, b, differencePercent, intervalPercent, verdict }) => [
    metric,
    formatSide(a),
    formatSide(b),
    differencePercent === undefined ? '-' : formatPercent(differencePercent),
    intervalPercent === undefined ? '-' : intervalPercent.map(formatPercent).join(' … '),
    verdict,
  ]);
  return [['metric', 'a', 'b', 'difference', '95 % interval', 'verdict'], ...rows];
}

function renderTable(comparisons: readonly Comparison[]): string[] {
  if (comparisons.length === 0) return ['  No figure is in both.'];
  const table = tableOf(comparisons);
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  // Numbers to the right, words to the left.
  const cell = (text: string, column: number): string =>
    column === 0 || column === 5 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!);
  return table.map((row) => row.map(cell).join('  ').trimEnd());
}

function formatSide({ median, spread }: Side): string {
  // Two decimals, as in reports, and more where they would say little.
  const size = Math.abs(median);
  const decimals = size >= 10 || size === 0 ? 2 : size >= 0.1 ? 3 : 5;
  return [median, spread].flatMap((value) => value?.toFixed(decimals) ?? []).join(' ± ');
}

function formatPercent(percent: number): string {
  return `${percent > 0 ? '+' : ''}${percent.toFixed(2)} %`;
}

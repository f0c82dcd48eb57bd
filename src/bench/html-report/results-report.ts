// The report of saved results: rows of several files, drawn over each other.
import { basename } from 'node:path';
import type { LatencyRow } from '../one-batch/latency-test.js';
import type { ResultRow } from '../results/figures.js';
import type { ResultFile } from '../results/result-file.js';
import { kindOf } from '../results/result-kinds.js';
import { savedRun } from '../serving/results/details.js';
import { machineFacts } from './about.js';
import type { Facts, ReportData, Table } from './page/report-data.js';
import { type ReportedRun, serversOf, servingRun, servingTables } from './serving-report.js';
import { sweepLines, sweepTable } from './sweep-lines.js';

/**
 * Rows of bench-serving become runs, rows of bench-one-batch a sweep; other rows are in no chart. `comparison`: tables above
 * those of all figures.
 */
export function resultsReport(
  title: string,
  files: readonly ResultFile[],
  comparison: readonly Table[],
  about: readonly Facts[],
): ReportData {
  const names = namesOf(files.map(({ path }) => path));
  const runs = files.flatMap(({ rows }, file) => {
    const own = rows.filter(isServingRow);
    return own.map((row, i): ReportedRun => {
      const label = own.length > 1 ? `${names[file]} run ${i + 1}` : names[file]!;
      // Rows without the times of single requests, SGLang's too, have figures but no charts.
      return Array.isArray(row.starts) ? { label, row, run: savedRun(row) } : { label, row };
    });
  });
  const points = files.flatMap(({ rows }, file) =>
    rows.filter(isSweepRow).map((row) => ({ ...row, run_name: `${names[file]} ${row.run_name}` })),
  );
  return {
    ...{ title, runs: runs.map(servingRun), sweep: sweepLines(points) },
    tables: [...comparison, ...servingTables(runs), ...(points.length > 0 ? [sweepTable(points)] : [])],
    about: [machineFacts(new Date()), ...serversOf(runs), ...about],
  };
}

const isServingRow = (row: ResultRow): boolean => kindOf(row)?.program === 'bench-serving';
const isSweepRow = (row: ResultRow): row is ResultRow & LatencyRow => kindOf(row)?.program === 'bench-one-batch';

/** Without folders where that tells them apart. */
function namesOf(paths: readonly string[]): readonly string[] {
  const names = paths.map((path) => basename(path));
  return new Set(names).size === names.length ? names : paths;
}

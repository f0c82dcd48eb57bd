// The report of a one-batch sweep.
import type { LatencyRow } from '../one-batch/latency-test.js';
import { machineFacts } from './about.js';
import type { Facts, ReportData } from './page/report-data.js';
import { sweepLines, sweepTable } from './sweep-lines.js';

export function sweepReport(title: string, rows: readonly LatencyRow[], about: readonly Facts[]): ReportData {
  return {
    ...{ title, runs: [], sweep: sweepLines(rows), tables: [sweepTable(rows)] },
    about: [machineFacts(new Date()), ...about],
  };
}

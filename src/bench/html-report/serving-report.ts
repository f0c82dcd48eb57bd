// The report of serving runs: of one program run, or of several result files side by side.
import { requestTimes } from '../series/request-times.js';
import { isSuccess } from '../serving/load/request-record.js';
import { gapsOf, type MetricsInput, outputLength } from '../serving/metrics/metrics.js';
import { machineFacts, serverFacts } from './about.js';
import { cards, failures, figureTable, latencyTable, type ResultRow } from './figures.js';
import type { Facts, ReportData, ServingRun, Table } from './page/report-data.js';
import { servingCharts } from './serving-charts.js';

/** The requests of a run. `start`: on the clock of the records. */
export type ReportedRequests = MetricsInput & { readonly start: number };

export interface ReportedRun {
  /** In legends and columns. */
  readonly label: string;
  /** Of the result file. */
  readonly row: ResultRow;
  /** Absent where only the row is known: then there are no charts. */
  readonly requests?: ReportedRequests;
}

export interface ServingReport {
  readonly title: string;
  readonly runs: readonly ReportedRun[];
  /** Above the tables of figures. */
  readonly comparison?: readonly Table[];
  /** Beside what is said of the machine and the servers. */
  readonly about?: readonly Facts[];
}

export function servingReport({ title, runs, comparison = [], about = [] }: ServingReport): ReportData {
  const servers = runs.flatMap(
    ({ label, row }) => serverFacts(runs.length > 1 ? `Server of ${label}` : 'Server', row.server_info) ?? [],
  );
  return {
    title,
    runs: runs.map(servingRun),
    sweep: [],
    tables: [...comparison, latencyTable(runs), figureTable(runs)],
    about: [machineFacts(new Date()), ...distinct(servers), ...about],
  };
}

/** Runs of one server say it once. */
function distinct(servers: readonly Facts[]): readonly Facts[] {
  const same = servers.every(({ facts }) => JSON.stringify(facts) === JSON.stringify(servers[0]!.facts));
  return same ? servers.slice(0, 1).map(({ facts }) => ({ title: 'Server', facts })) : servers;
}

function servingRun({ label, row, requests }: ReportedRun): ServingRun {
  const run = { label, cards: cards(row), failures: failures(row) };
  if (requests === undefined) return run;
  const { records, retokenized, gapTokens, start, duration } = requests;
  const times = records.map((record, i) =>
    requestTimes(
      record,
      start,
      outputLength(record, retokenized[i]!),
      isSuccess(record) ? gapsOf(record, gapTokens?.[i]) : [],
    ),
  );
  return { ...run, charts: servingCharts(times, duration, steadyState(row)) };
}

function steadyState(row: ResultRow): readonly [number, number] | undefined {
  const window = (row.steady_state as { window?: unknown } | null | undefined)?.window;
  if (!Array.isArray(window) || window.length !== 2) return undefined;
  return [Number(window[0]), Number(window[1])];
}

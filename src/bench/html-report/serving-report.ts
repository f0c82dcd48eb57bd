// The report of serving runs: those of one program run, or of several result files side by side.

import type { ResultRow } from '../results/figures.js';
import { timesOf } from '../series/request-times.js';
import type { MeasuredRun } from '../serving/metrics/measured-run.js';
import { machineFacts, serverFacts } from './about.js';
import { cards, failures, figureTable, latencyTable } from './figures.js';
import type { Facts, ReportData, ServingRun, Table } from './page/report-data.js';
import { servingCharts } from './serving-charts.js';

export interface ReportedRun {
  /** In legends and columns. */
  readonly label: string;
  readonly row: ResultRow;
  /** Absent where only the row is known: then there are no charts. */
  readonly run?: MeasuredRun;
}

/** `about`: beside what is said of machine and server. */
export function servingReport(title: string, runs: readonly ReportedRun[], about: readonly Facts[]): ReportData {
  return {
    ...{ title, runs: runs.map(servingRun), sweep: [], tables: servingTables(runs) },
    about: [machineFacts(new Date()), ...serversOf(runs), ...about],
  };
}

export function servingRun({ label, row, run }: ReportedRun): ServingRun {
  const texts = { label, cards: cards(row), failures: failures(row) };
  return run === undefined ? texts : { ...texts, charts: servingCharts(timesOf(run), run.duration, steadyState(row)) };
}

export function servingTables(runs: readonly ReportedRun[]): Table[] {
  return runs.length === 0 ? [] : [latencyTable(runs), figureTable(runs)];
}

/** What the servers of the runs say of themselves, once where they say the same. */
export function serversOf(runs: readonly ReportedRun[]): Facts[] {
  const servers = runs.flatMap(({ label, row }) => serverFacts(`Server of ${label}`, row.server_info) ?? []);
  const distinct = new Set(servers.map(({ facts }) => JSON.stringify(facts)));
  return distinct.size === 1 ? [{ title: 'Server', facts: servers[0]!.facts }] : servers;
}

function steadyState(row: ResultRow): readonly [number, number] | undefined {
  const window = (row.steady_state as { readonly window?: unknown } | null | undefined)?.window;
  return Array.isArray(window) ? [Number(window[0]), Number(window[1])] : undefined;
}

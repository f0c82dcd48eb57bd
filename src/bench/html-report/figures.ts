// Cards and tables of serving runs, from the rows of their result files: ours or SGLang's.
import type { ResultRow } from '../results/figures.js';
import type { Card, Table } from './page/report-data.js';

export interface LabelledRow {
  readonly label: string;
  readonly row: ResultRow;
}

const MISSING = '–';
const CARDS: readonly (readonly [key: string, label: string, unit: string, decimals: number])[] = [
  ['completed', 'Successful requests', '', 0],
  ['failed', 'Failed requests', '', 0],
  ['duration', 'Benchmark duration', 's', 2],
  ['request_throughput', 'Request throughput', 'req/s', 2],
  ['input_throughput', 'Input token throughput', 'tok/s', 2],
  ['output_throughput', 'Output token throughput', 'tok/s', 2],
  ['total_throughput', 'Total token throughput', 'tok/s', 2],
  ['goodput', 'Goodput', 'req/s', 2],
  ['concurrency', 'Mean concurrency', '', 2],
  ['total_input_tokens', 'Input tokens', '', 0],
  ['total_output_tokens', 'Generated tokens', '', 0],
  ['median_ttft_ms', 'Median TTFT', 'ms', 2],
  ['p99_ttft_ms', 'P99 TTFT', 'ms', 2],
  ['median_tpot_ms', 'Median TPOT', 'ms', 2],
  ['median_itl_ms', 'Median ITL', 'ms', 2],
  ['p99_itl_ms', 'P99 ITL', 'ms', 2],
  ['median_e2e_latency_ms', 'Median E2E latency', 'ms', 2],
  ['p99_e2e_latency_ms', 'P99 E2E latency', 'ms', 2],
  ['accept_length', 'Accept length', 'tokens', 2],
];

const MEASURES: readonly (readonly [key: string, label: string])[] = [
  ['ttft', 'TTFT'],
  ['tpot', 'TPOT'],
  ['itl', 'ITL'],
  ['e2e_latency', 'E2E latency'],
  ['first_token', 'First token'],
  ['client_queue', 'Client queueing'],
];

const STATISTICS: readonly (readonly [key: string, label: string])[] = [
  ['mean', 'mean'],
  ['std', 'std'],
  ['median', 'p50'],
  ['p90', 'p90'],
  ['p95', 'p95'],
  ['p99', 'p99'],
  ['p999', 'p99.9'],
  ['max', 'max'],
];

const isLatency = (key: string): boolean => /^(mean|std|median|p\d+|max)_\w+_ms$/.test(key);

/** With groups of three digits. */
export function formatNumber(value: number, decimals: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

export function cards(row: ResultRow): Card[] {
  return CARDS.flatMap(([key, label, unit, decimals]) => {
    const value = row[key];
    if (typeof value !== 'number') return [];
    return [{ label, value: `${formatNumber(value, decimals)} ${unit}`.trim() }];
  });
}

export function failures(row: ResultRow): { message: string; count: number }[] {
  const counts = row.errors_by_message;
  if (typeof counts !== 'object' || counts === null) return [];
  const found = Object.entries(counts as Record<string, number>).map(([message, count]) => ({ message, count }));
  // An object does not keep the order in which messages that look like numbers were written.
  return found.sort((a, b) => b.count - a.count);
}

/** Every latency of every run. */
export function latencyTable(runs: readonly LabelledRow[]): Table {
  const rows = MEASURES.flatMap(([measure, name]) =>
    runs.flatMap(({ label, row }) => {
      const values = STATISTICS.map(([statistic]) => row[`${statistic}_${measure}_ms`]);
      if (!values.some((value) => typeof value === 'number')) return [];
      const cells = values.map((value) => (typeof value === 'number' ? formatNumber(value, 2) : MISSING));
      return [[name, ...(runs.length > 1 ? [label] : []), ...cells]];
    }),
  );
  const columns = ['ms', ...(runs.length > 1 ? ['run'] : []), ...STATISTICS.map(([, label]) => label)];
  return { title: 'Latencies', columns, rows };
}

/** Every other single value of the rows, under its key in the result file. */
export function figureTable(runs: readonly LabelledRow[]): Table {
  const keys = [...new Set(runs.flatMap(({ row }) => Object.keys(row)))].filter((key) => {
    const values = runs.map(({ row }) => row[key]);
    return !isLatency(key) && values.some((value) => ['number', 'string', 'boolean'].includes(typeof value));
  });
  return {
    title: 'All other figures',
    columns: ['key of the result file', ...runs.map(({ label }) => label)],
    rows: keys.map((key) => [key, ...runs.map(({ row }) => formatValue(row[key]))]),
  };
}

function formatValue(value: unknown): string {
  if (typeof value === 'number') return formatNumber(value, Number.isInteger(value) ? 0 : 4);
  return value === undefined || value === null ? MISSING : String(value);
}

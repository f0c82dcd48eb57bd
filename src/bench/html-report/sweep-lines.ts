// The lines and the table of one-batch sweeps: figures against batch size, a line for each length.
import type { LatencyRow } from '../one-batch/latency-test.js';
import { formatNumber } from './figures.js';
import type { SweepLine, Table } from './page/report-data.js';

/** Rows of one name, input and output length are a line; of several with one batch size the last counts. */
export function sweepLines(rows: readonly LatencyRow[]): SweepLine[] {
  const names = new Set(rows.map(({ run_name }) => run_name));
  const outputs = new Set(rows.map(({ output_len }) => output_len));
  const lines = new Map<string, Map<number, LatencyRow>>();
  for (const row of rows) {
    const label = [
      ...(names.size > 1 ? [row.run_name] : []),
      `input ${row.input_len}`,
      ...(outputs.size > 1 ? [`output ${row.output_len}`] : []),
    ].join(', ');
    const line = lines.get(label) ?? new Map<number, LatencyRow>();
    lines.set(label, line.set(row.batch_size, row));
  }
  return [...lines].map(([label, byBatchSize]) => {
    const points = [...byBatchSize.values()].sort((a, b) => a.batch_size - b.batch_size);
    return {
      label,
      batchSize: points.map((row) => row.batch_size),
      prefillLatency: points.map((row) => row.prefill_latency),
      prefillThroughput: points.map((row) => row.prefill_throughput),
      decodeLatency: points.map((row) => row.median_decode_latency ?? null),
      decodeThroughput: points.map((row) => row.median_decode_throughput ?? null),
    };
  });
}

export function sweepTable(rows: readonly LatencyRow[]): Table {
  const columns = [
    ...['run', 'batch size', 'input', 'output', 'prefill (ms)', 'prefill (tok/s)', 'median decode step (ms)'],
    ...['median decode (tok/s)', 'total (s)', 'overall (tok/s)'],
  ];
  const real = (value: number | undefined, factor = 1): string =>
    value === undefined ? '–' : formatNumber(value * factor, 3);
  return {
    title: 'Points of the sweep',
    columns,
    rows: rows.map((row) => [
      row.run_name,
      ...[row.batch_size, row.input_len, row.output_len].map(String),
      real(row.prefill_latency, 1000),
      real(row.prefill_throughput),
      real(row.median_decode_latency, 1000),
      real(row.median_decode_throughput),
      real(row.total_latency),
      real(row.overall_throughput),
    ]),
  };
}

// What several runs over one workload have in common, and how far they lie apart.
import { sampleDeviation } from '../../confidence.js';
import { SERVING_METRICS } from '../../result-metrics.js';
import { Sample } from '../../statistics.js';
import type { ResultRow } from './result-row.js';

/** Whether every request of the workload has ended by itself: a run that was cut short is like no other. */
export function isWhole(row: ResultRow): boolean {
  const ended = Number(row.completed) + Number(row.failed ?? 0);
  return !(Number(row.interrupted) > 0 || ended < Number(row.num_prompts));
}

/** Median, least, most, interquartile range and coefficient of variation of every main figure. */
export function renderRunSummary(rows: readonly ResultRow[]): string[] {
  const whole = rows.filter(isWhole);
  const left = whole.length < rows.length ? `, without ${rows.length - whole.length} that was cut short` : '';
  const title = `Summary of ${whole.length} runs${left}`;
  if (whole.length < 2) return ['', `${title}: no spread can be told`];
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(24) : cell.padStart(12))).join('');
  const lines = SERVING_METRICS.flatMap((key) => {
    const values = whole.map((row) => row[key]).filter((value) => typeof value === 'number');
    if (values.length < whole.length) return [];
    const sample = new Sample(values);
    const range = sample.percentile(75) - sample.percentile(25);
    const cells = [sample.median, sample.percentile(0), sample.max, range].map((value) => value.toFixed(2));
    const variation = sample.mean === 0 ? '-' : `${((sampleDeviation(values)! / sample.mean) * 100).toFixed(2)} %`;
    return [line([key, ...cells, variation])];
  });
  return ['', title, line(['', 'median', 'min', 'max', 'IQR', 'CV']), ...lines];
}

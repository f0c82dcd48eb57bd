// What several runs over one workload have in common, and how far they lie apart.

import { isWhole, type ResultRow, readFigures } from '../../results/figures.js';
import { SERVING } from '../../results/result-kinds.js';
import { sampleDeviation } from '../../statistics/confidence.js';
import { Sample } from '../../statistics/statistics.js';

/** Median, least, most, interquartile range and coefficient of variation of every main figure. */
export function renderRunSummary(rows: readonly ResultRow[]): string[] {
  const whole = rows.filter(isWhole);
  const left = whole.length < rows.length ? `, without ${rows.length - whole.length} that was cut short` : '';
  const title = `Summary of ${whole.length} runs${left}`;
  if (whole.length < 2) return ['', `${title}: no spread can be told`];
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(34) : cell.padStart(11))).join('');
  const lines = SERVING.metrics.flatMap((key) => {
    const values = readFigures(whole, key);
    // A window that some runs do not have is no figure of all.
    return values.length < whole.length ? [] : [line([key, ...cellsOf(values)])];
  });
  return ['', title, line(['', 'median', 'min', 'max', 'IQR', 'CV']), ...lines];
}

function cellsOf(values: readonly number[]): string[] {
  const sample = new Sample(values);
  const range = sample.percentile(75) - sample.percentile(25);
  const cells = [sample.median, sample.percentile(0), sample.max, range].map((value) => value.toFixed(2));
  const variation = sample.mean === 0 ? '-' : `${((sampleDeviation(values)! / sample.mean) * 100).toFixed(2)} %`;
  return [...cells, variation];
}

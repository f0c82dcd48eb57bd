// The bench-compare program: reads result files, compares them with the baseline, prints, and says whether one is worse.
import { basename } from 'node:path';
import { BENCH_COMPARE_OPTIONS, type BenchCompareOptions } from '../../config/tables/bench-compare-options.js';
import { VitrineError } from '../../util/errors.js';
import { flagFacts } from '../html-report/about.js';
import { resultsReport } from '../html-report/results-report.js';
import { prepareReport, writeReport } from '../html-report/write-report.js';
import { readResults } from '../results/result-file.js';
import type { Output } from '../terminal/output.js';
import { compareResults, comparisonObject, regressions } from './compare-results.js';
import { comparisonTables, renderComparisons } from './render-comparison.js';

/**
 * Whether --fail-on-regression found none.
 * @throws VitrineError INVALID_OPTION for files that cannot be read or are no results
 */
export async function benchCompare(options: BenchCompareOptions, output: Output): Promise<boolean> {
  const { files: paths, baseline: given = paths[0]!, failOnRegression: percent } = options;
  if (paths.length < 2) throw invalid('--files', `expected two or more files, got ${paths.join()}`);
  if (!paths.includes(given)) throw invalid('--baseline', `expected one of ${paths.join(', ')}, got ${given}`);
  if (options.report !== undefined) await prepareReport(options.report, paths);
  const files = await Promise.all(paths.map((path) => readResults(path, '--files')));
  const first = paths.indexOf(given);
  const comparisons = compareResults(files[first]!, files.toSpliced(first, 1), options.metrics);
  if (options.json) output.print(JSON.stringify(comparisonObject(comparisons)));
  else for (const line of renderComparisons(comparisons)) output.print(line);
  if (options.report !== undefined) {
    const title = `bench-compare: ${paths.map((path) => basename(path)).join(', ')}`;
    const about = [flagFacts(BENCH_COMPARE_OPTIONS, options)];
    await writeReport(options.report, resultsReport(title, files, comparisonTables(comparisons), about));
    if (!options.json) output.print(`Report: ${options.report}`);
  }
  const worse = percent === undefined ? [] : regressions(comparisons, percent);
  if (worse.length > 0) {
    output.warn(`Worse by more than ${percent} %: ${worse.map(({ metric }) => metric).join(', ')}`);
  }
  return worse.length === 0;
}

function invalid(param: string, message: string): VitrineError {
  return new VitrineError('INVALID_OPTION', `${param}: ${message}`, { param });
}

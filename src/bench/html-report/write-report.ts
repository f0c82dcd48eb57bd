// --report: what a bench measured, as one HTML file that opens without a network.
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { toError, VitrineError } from '../../util/errors.js';
import { prepareJsonl } from '../results/append-jsonl.js';
import type { ReportData } from './page/report-data.js';
import { pageHtml } from './page-html.js';

/**
 * Makes sure that the report can be written, before hours are spent on it. `results`: files that it must not replace.
 * Errors: INVALID_OPTION, naming --report.
 */
export async function prepareReport(path: string, results: readonly string[]): Promise<void> {
  if (results.some((file) => file !== '' && resolve(file) === resolve(path))) {
    const message = `--report ${path}: it would replace the results: expected a file of its own`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--report' });
  }
  await prepareJsonl(path, '--report');
}

/** Replaces what was there. Errors: BENCH_FAILED, naming --report. */
export async function writeReport(path: string, data: ReportData): Promise<void> {
  const html = await pageHtml(data);
  try {
    await writeFile(path, html);
  } catch (thrown) {
    const message = `--report ${path}: cannot write the report: ${toError(thrown).message}`;
    throw new VitrineError('BENCH_FAILED', message, { param: '--report', cause: thrown });
  }
}

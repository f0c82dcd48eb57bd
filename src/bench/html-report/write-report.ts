// --report: what a bench measured, as one HTML file that opens without a network.
import { writeFile } from 'node:fs/promises';
import { toError, VitrineError } from '../../util/errors.js';
import type { ReportData } from './page/report-data.js';
import { pageHtml } from './page-html.js';

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

// Result files: one JSON object a line, appended, so that runs of a sweep or of several days collect in one file.
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toError, VitrineError } from '../util/errors.js';

/** Appends `rows` in one write; creates missing folders. `flag` is named when the file cannot be written. */
export async function appendJsonl(path: string, rows: readonly object[], flag: string): Promise<void> {
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  try {
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, text);
  } catch (thrown) {
    const message = `${flag} ${path}: cannot write the results: ${toError(thrown).message}`;
    throw new VitrineError('BENCH_FAILED', message, { param: flag, cause: thrown });
  }
}

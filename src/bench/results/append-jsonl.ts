// Result files: one JSON object a line, appended, so that runs of a sweep or of several days collect in one file.
import { access, appendFile, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toError, VitrineError } from '../../util/errors.js';
import { makeDirectory } from '../../util/make-directory.js';

/** Creates the file's folder and makes sure that results can be written, before hours are spent on them. */
export async function prepareJsonl(path: string, flag: string): Promise<void> {
  try {
    if (path === '') throw new Error('expected the name of a file, got an empty text');
    await makeDirectory(dirname(path));
    const found = await stat(path).catch(() => null);
    if (found?.isDirectory()) throw new Error('it is a folder');
    await access(found === null ? dirname(path) : path, constants.W_OK);
  } catch (thrown) {
    const message = `${flag} ${path}: results cannot be written there: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag, cause: thrown });
  }
}

/** Appends `rows` in one write. `flag` is named when the file cannot be written. */
export async function appendJsonl(path: string, rows: readonly object[], flag: string): Promise<void> {
  try {
    await appendFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  } catch (thrown) {
    const message = `${flag} ${path}: cannot write the results: ${toError(thrown).message}`;
    throw new VitrineError('BENCH_FAILED', message, { param: flag, cause: thrown });
  }
}

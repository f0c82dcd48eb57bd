// Reading of result files: one JSON object a line, of one of the benchmarks.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { toError, VitrineError } from '../../util/errors.js';
import type { ResultRow } from './figures.js';
import { kindOf, RESULT_KINDS } from './result-kinds.js';

export interface ResultFile {
  readonly path: string;
  /** In the order of the file. */
  readonly rows: readonly ResultRow[];
}

/**
 * Reads a JSONL file of results. SGLang's bare words Infinity and NaN, which are not JSON, are read as "inf" and null.
 * @throws VitrineError INVALID_OPTION with file and line; `flag` is named where the file is missing or empty
 */
export async function readResults(path: string, flag: string): Promise<ResultFile> {
  const rows: ResultRow[] = [];
  let line = 0;
  try {
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
      line += 1;
      if (text.trim() !== '') rows.push(parseRow(text, `${path}:${line}`));
    }
  } catch (thrown) {
    if (thrown instanceof VitrineError) throw thrown;
    throw new VitrineError('INVALID_OPTION', `${flag} ${path}: cannot be read: ${toError(thrown).message}`, {
      param: flag,
      cause: thrown,
    });
  }
  if (rows.length === 0) {
    throw new VitrineError('INVALID_OPTION', `${flag} ${path}: expected one JSON object a line, got an empty file`, {
      param: flag,
    });
  }
  return { path, rows };
}

function parseRow(text: string, where: string): ResultRow {
  let row: unknown;
  try {
    row = JSON.parse(withoutBareWords(text));
  } catch (thrown) {
    throw new VitrineError('INVALID_OPTION', `${where}: expected a JSON object, got '${start(text)}'`, {
      cause: thrown,
    });
  }
  if (typeof row !== 'object' || row === null || kindOf(row as ResultRow) === undefined) {
    const programs = RESULT_KINDS.map(({ program }) => program).join(', ');
    throw new VitrineError('INVALID_OPTION', `${where}: expected a result of ${programs}, got '${start(text)}'`);
  }
  return row as ResultRow;
}

const start = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** Outside strings, Python writes Infinity, -Infinity and NaN as they are. */
function withoutBareWords(text: string): string {
  if (!/Infinity|NaN/.test(text)) return text;
  return text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN/g, (token) => {
    if (token.startsWith('"')) return token;
    return token === 'NaN' ? 'null' : token === 'Infinity' ? '"inf"' : '"-inf"';
  });
}

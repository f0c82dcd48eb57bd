// Reads a JSON object from a file, with errors that name the file and the place.
import { readFile } from 'node:fs/promises';
import { type ErrorCode, toError, VitrineError } from './errors.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether `value` is a JSON object (not null, not an array). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a JSON value is, in words, for "expected …, got …". */
export function describeJson(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return `${typeof value} ${text.length > 60 ? `${text.slice(0, 57)}…` : text}`;
}

/** The JSON object in `path`, or undefined when there is no such file; anything else is a `code` error. */
export async function readJsonObjectIfPresent(path: string, code: ErrorCode): Promise<JsonObject | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new VitrineError(code, `Cannot read ${path}: ${toError(thrown).message}`, { cause: thrown });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new VitrineError(code, `${path} is not valid JSON: ${toError(thrown).message}`, { cause: thrown });
  }
  if (!isJsonObject(value))
    throw new VitrineError(code, `${path} must hold a JSON object, got ${describeJson(value)}.`);
  return value;
}

/** The JSON object in `path`; a missing file is a `code` error too. */
export async function readJsonObject(path: string, code: ErrorCode): Promise<JsonObject> {
  const value = await readJsonObjectIfPresent(path, code);
  if (value === undefined) throw new VitrineError(code, `${path} does not exist.`);
  return value;
}

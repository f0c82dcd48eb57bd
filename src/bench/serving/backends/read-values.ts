// Reads the values of foreign JSON, and says what is wrong with them.
import { isJsonObject, type JsonObject } from '../../../util/read-json.js';

/** @throws SyntaxError */
export function parseObject(payload: Buffer): JsonObject {
  const value = JSON.parse(payload.toString()) as unknown;
  if (!isJsonObject(value)) throw new SyntaxError('not an object');
  return value;
}

export function optionalText(name: string, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw new Error(`${name} is no text`);
  return value;
}

export function optionalCount(name: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Error(`${name} is no count`);
  return value as number;
}

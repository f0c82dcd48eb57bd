// JSON written by hand where it goes out once per token: pieces of it are kept, so that a growing text is escaped once.

/** The inside of a JSON string: escaped, without the quotes. */
export function escapeJson(text: string): string {
  return text === '' ? '' : JSON.stringify(text).slice(1, -1);
}

/** A JSON number; null for what JSON cannot say (and for null). */
export function jsonNumber(value: number | null): string {
  return value !== null && Number.isFinite(value) ? String(value) : 'null';
}

/** One JSON text, as a string or in pieces, of which those that grow are kept as UTF-8. */
export type JsonParts = string | readonly (string | Uint8Array)[];

export function joinJson(parts: JsonParts): string {
  if (typeof parts === 'string') return parts;
  return parts.map((part) => (typeof part === 'string' ? part : Buffer.from(part).toString('utf8'))).join('');
}

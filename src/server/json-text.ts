// JSON written by hand where it goes out once per token: pieces of it are kept, so that a growing text is escaped once.

/** The inside of a JSON string: escaped, without the quotes. */
export function escapeJson(text: string): string {
  return text === '' ? '' : JSON.stringify(text).slice(1, -1);
}

/** A JSON number; null for what JSON cannot say (and for null). */
export function jsonNumber(value: number | null): string {
  return value !== null && Number.isFinite(value) ? String(value) : 'null';
}

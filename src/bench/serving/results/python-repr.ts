// Values as Python prints them: the options of a run as SGLang shows them, Namespace(backend='sglang', …), so that logs
// of both can be read alike.
import type { Option } from '../../../config/option.js';

export function formatArguments(table: readonly Option[], options: Readonly<Record<string, unknown>>): string {
  const parts = table.map(({ flag, key, type }) => {
    // SGLang keeps the text.
    const value = type === 'json' ? JSON.stringify(options[key]) : options[key];
    const text = type === 'number' && typeof value === 'number' ? pythonFloat(value) : pythonRepr(value);
    return `${flag.replaceAll('-', '_')}=${text}`;
  });
  return `Namespace(${parts.join(', ')})`;
}

/** Always with a point: `30.0`. */
export function pythonFloat(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : pythonRepr(value);
}

export function pythonRepr(value: unknown): string {
  if (value === undefined || value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(', ')}]`;
  if (typeof value === 'object') {
    return `{${Object.entries(value)
      .map(([key, entry]) => `${pythonRepr(key)}: ${pythonRepr(entry)}`)
      .join(', ')}}`;
  }
  return value === Number.POSITIVE_INFINITY ? 'inf' : String(value);
}

// The options of a run as SGLang prints them: Namespace(backend='sglang', …), so that logs of both can be read alike.
import type { Option } from '../../config/option.js';

export function formatArguments(table: readonly Option[], options: Readonly<Record<string, unknown>>): string {
  const parts = table.map((option) => `${option.flag.replaceAll('-', '_')}=${literal(options[option.key])}`);
  return `Namespace(${parts.join(', ')})`;
}

function literal(value: unknown): string {
  if (value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value === 'object') return literal(JSON.stringify(value));
  return value === Number.POSITIVE_INFINITY ? 'inf' : String(value);
}

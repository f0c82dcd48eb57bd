// What logs, result rows and reports leave out: keys and passwords. People send these files around.
import type { Option } from '../../config/option.js';

const HIDDEN = '…';
const SECRET = /api[-_]?key|secret|password|credential|authorization|bearer/i;

/** The options of a program as they may be shown, by key. */
export function hideSecrets(
  table: readonly Option[],
  options: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(table.map((option) => [option.key, hideOption(option, options[option.key])]));
}

function hideOption({ flag, type }: Option, value: unknown): unknown {
  if (value === undefined || value === '') return value;
  if (SECRET.test(flag)) return HIDDEN;
  // Which headers may be told, not what they say.
  if (flag === 'header') return (value as readonly string[]).map((text) => text.replace(/=.*/s, `=${HIDDEN}`));
  if (type === 'json') return hideMembers(value);
  if (Array.isArray(value)) return value.map((item) => (typeof item === 'string' ? hideCredentials(item) : item));
  return typeof value === 'string' ? hideCredentials(value) : value;
}

/** JSON without the values of members, however deep, whose names tell that they are secrets. */
export function hideMembers(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(hideMembers);
  if (typeof json !== 'object' || json === null) return json;
  // A member without a value hides nothing, and says that there is no key.
  const shown = (key: string, value: unknown) => (SECRET.test(key) && value ? HIDDEN : hideMembers(value));
  return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, shown(key, value)]));
}

/** Text without the user and the password of addresses in it. */
export function hideCredentials(text: string): string {
  return text.replace(/\/\/[^/@\s]+@/g, `//${HIDDEN}@`);
}

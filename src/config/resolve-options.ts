// Fills an options object: given values first, then the environment, then defaults. Everything in it has been checked.
import { VitrineError } from '../util/errors.js';
import type { Option, OptionsOf } from './option.js';
import { checkValue, isList, longFlag, parseText } from './option-value.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The complete options object of a table. Keys that are not in the table are refused; `undefined` means "not set".
 * @throws VitrineError INVALID_OPTION
 */
export function resolveOptions<const Table extends readonly Option[]>(
  table: Table,
  given: Readonly<Record<string, unknown>>,
  environment: Environment = process.env,
): OptionsOf<Table> {
  const keys = new Set(table.map((option) => option.key));
  for (const key of Object.keys(given)) {
    if (!keys.has(key)) throw new VitrineError('INVALID_OPTION', `unknown option ${key}`, { param: key });
  }
  const resolved: Record<string, unknown> = {};
  for (const option of table) resolved[option.key] = resolveValue(option, given[option.key], environment);
  return resolved as OptionsOf<Table>;
}

function resolveValue(option: Option, given: unknown, environment: Environment): unknown {
  if (given !== undefined) {
    checkValue(option, given);
    return given;
  }
  const text = option.env === undefined ? undefined : environment[option.env];
  if (text !== undefined && text !== '') return fromEnvironment(option, text);
  if (option.default !== undefined) return option.default;
  if (option.required) {
    throw new VitrineError('INVALID_OPTION', `${longFlag(option)} is required`, { param: longFlag(option) });
  }
  return option.type === 'flag' && !option.negatable ? false : undefined;
}

function fromEnvironment(option: Option, text: string): unknown {
  if (!isList(option)) return parseText(option, text, option.env);
  return text.split(/[\s,]+/).map((element) => parseText(option, element, option.env));
}

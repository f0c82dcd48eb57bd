// Reads options from a YAML file: a flat mapping of flag names (dashes or underscores) to values.
import { readFileSync } from 'node:fs';
import { CORE_SCHEMA, FAILSAFE_SCHEMA, load } from 'js-yaml';
import { toError, VitrineError } from '../util/errors.js';
import type { FlagMatcher } from './match-flag.js';
import type { Option } from './option.js';
import { checkValue, isList, parseText } from './option-value.js';
import { acceptedOptions, CONFIG_OPTION, type Program } from './program.js';

/** Values by option key. @throws VitrineError INVALID_OPTION naming file and key */
export function readConfigFile(program: Program, matcher: FlagMatcher, path: string): Map<string, unknown> {
  const { texts, typed } = loadTwice(path);
  const values = new Map<string, unknown>();
  for (const [name, value] of Object.entries(texts)) {
    const source = `${path}: ${name}`;
    const option = exactOption(program, matcher, name, path);
    if (values.has(option.key)) throw new VitrineError('INVALID_OPTION', `${source}: the option is given twice`);
    const converted =
      option.type === 'json' ? jsonValue(option, typed[name], source) : textValue(option, value, source);
    if (converted !== undefined) values.set(option.key, converted);
  }
  return values;
}

// Scalars are read as texts, so that `revision: 1e3` stays 1e3 and the same rules hold as on the command line; objects of
// JSON options need YAML's types.
function loadTwice(path: string): { texts: Record<string, unknown>; typed: Record<string, unknown> } {
  try {
    const yaml = readFileSync(path, 'utf8');
    const texts = load(yaml, { filename: path, schema: FAILSAFE_SCHEMA }) ?? {};
    if (!isMapping(texts)) throw new Error('expected a mapping of option names to values');
    return { texts, typed: load(yaml, { filename: path, schema: CORE_SCHEMA }) as Record<string, unknown> };
  } catch (thrown) {
    const reason = toError(thrown).message.split('\n')[0];
    throw new VitrineError('INVALID_OPTION', `--config ${path}: ${reason}`, { param: '--config', cause: thrown });
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function exactOption(program: Program, matcher: FlagMatcher, name: string, path: string): Option {
  const wanted = name.replaceAll('_', '-');
  const known = acceptedOptions(program).find((o) => o.flag === wanted || o.aliases?.includes(wanted));
  if (known !== undefined && known !== CONFIG_OPTION) return known;
  let hint = 'prefixes and --config itself are not allowed in a file';
  try {
    matcher.match(name);
  } catch (thrown) {
    hint = toError(thrown).message;
  }
  throw new VitrineError('INVALID_OPTION', `--config ${path}: unknown key '${name}': ${hint}`, { param: '--config' });
}

function jsonValue(option: Option, value: unknown, source: string): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'string') return parseText(option, value, source);
  checkValue(option, value, source);
  return value;
}

function textValue(option: Option, value: unknown, source: string): unknown {
  const isUnset = value === null || value === undefined || (typeof value === 'string' && /^(null|~)$/i.test(value));
  if (isUnset) return undefined;
  if (isList(option)) {
    const elements = Array.isArray(value) ? value : [value];
    const parsed = elements.map((element) => scalarValue(option, element, source));
    checkValue(option, parsed, source);
    return parsed;
  }
  return scalarValue(option, value, source);
}

function scalarValue(option: Option, value: unknown, source: string): unknown {
  if (typeof value === 'string') return parseText(option, value, source);
  checkValue(option, value, source);
  return value;
}

// Rewrites a command line as argparse would read it into one that needs no guessing: full flag names, one `--flag=value`
// per value, each option once (the last occurrence wins). commander reads the result.
import { VitrineError } from '../util/errors.js';
import type { FlagMatcher, MatchedFlag } from './match-flag.js';
import { isList, longFlag } from './option-value.js';

const NEGATIVE_NUMBER = /^-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** True for what argparse takes for a flag: a dash, and neither a negative number nor a text with spaces. */
function looksLikeFlag(token: string): boolean {
  return token.length > 1 && token.startsWith('-') && !NEGATIVE_NUMBER.test(token) && !/\s/.test(token);
}

/** @throws VitrineError INVALID_OPTION */
export function canonicalArguments(matcher: FlagMatcher, argv: readonly string[]): string[] {
  const byKey = new Map<string, string[]>();
  for (let at = 0; at < argv.length; ) {
    const token = argv[at]!;
    at += 1;
    if (token === '-h') return ['--help'];
    if (token === '--' && matcher.positional !== undefined) {
      for (const value of argv.slice(at)) addPositional(matcher, byKey, value);
      break;
    }
    if (!token.startsWith('--') && !looksLikeFlag(token) && matcher.positional !== undefined) {
      addPositional(matcher, byKey, token);
      continue;
    }
    if (!token.startsWith('--') || token === '--') throw unexpected(token);
    const equals = token.indexOf('=');
    const match = matcher.match(equals < 0 ? token.slice(2) : token.slice(2, equals));
    if (match.option.key === 'help') return ['--help'];
    const values = equals < 0 ? followingValues(match, argv, at) : [token.slice(equals + 1)];
    if (equals < 0) at += values.length;
    byKey.set(match.option.key, canonicalTokens(match, values));
  }
  return [...byKey.values()].flat();
}

/** Lists grow with every value; a single value is given once. */
function addPositional({ positional }: FlagMatcher, byKey: Map<string, string[]>, value: string): void {
  const { option } = positional!;
  const before = byKey.get(option.key) ?? [];
  if (before.length > 0 && !isList(option)) {
    const message = `unexpected argument '${value}': there can be only one ${option.flag}`;
    throw new VitrineError('INVALID_OPTION', message, { param: longFlag(option) });
  }
  byKey.set(option.key, [...before, ...canonicalTokens(positional!, [value])]);
}

function unexpected(token: string): VitrineError {
  const hint = looksLikeFlag(token) ? 'options have long names with two dashes' : 'every value follows a --flag';
  return new VitrineError('INVALID_OPTION', `unexpected argument '${token}': ${hint}`, { param: token });
}

function followingValues({ option }: MatchedFlag, argv: readonly string[], from: number): string[] {
  if (option.type === 'flag') return [];
  const values: string[] = [];
  for (let at = from; at < argv.length && !looksLikeFlag(argv[at]!); at++) {
    values.push(argv[at]!);
    if (!isList(option)) break;
  }
  if (values.length === 0) {
    const wanted = isList(option) ? 'at least one value' : 'a value';
    throw new VitrineError('INVALID_OPTION', `${longFlag(option)}: expected ${wanted}`, { param: longFlag(option) });
  }
  return values;
}

function canonicalTokens({ option, negated }: MatchedFlag, values: readonly string[]): string[] {
  const flag = `--${negated ? 'no-' : ''}${option.flag}`;
  if (option.type !== 'flag') return values.map((value) => `${flag}=${value}`);
  if (values.length === 0) return [flag];
  throw new VitrineError('INVALID_OPTION', `${flag}: takes no value, got '${values[0]}'`, { param: flag });
}

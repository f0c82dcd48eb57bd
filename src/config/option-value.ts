// Turns the texts of one option (from the command line, a YAML file or the environment) into its typed value, or says
// what was expected and what came.
import { VitrineError } from '../util/errors.js';
import type { Option } from './option.js';

const INTEGER = /^[+-]?\d+$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const INFINITY = /^\+?inf(inity)?$/i;

/** Options that take several values after one flag. */
export function isList(option: Option): boolean {
  return option.type === 'strings' || option.type === 'integers';
}

/** `--page-size`. */
export function longFlag(option: Option): string {
  return `--${option.flag}`;
}

/** `an integer from 1 to 1024`: what an option takes, for messages and docs. */
export function describeExpected(option: Option): string {
  if (option.choices !== undefined) return `one of ${option.choices.join(', ')}`;
  switch (option.type) {
    case 'string':
    case 'strings':
      return 'text';
    case 'json':
      return 'a JSON object';
    case 'flag':
      return 'true or false';
    case 'integer':
    case 'integers':
      return `an integer${describeRange(option)}`;
    case 'number':
      return `a number${describeRange(option)}${option.infinite ? ' or inf' : ''}`;
  }
}

function describeRange({ min, max }: Option): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? '' : ` of at most ${max}`;
}

function refuse(option: Option, got: unknown, source = longFlag(option)): never {
  const reason = typeof got === 'string' ? option.refused?.[got] : undefined;
  if (reason !== undefined) {
    throw new VitrineError('INVALID_OPTION', `${source}: '${got}' ${reason}`, { param: longFlag(option) });
  }
  const shown = typeof got === 'string' ? `'${got}'` : JSON.stringify(got);
  throw new VitrineError('INVALID_OPTION', `${source}: expected ${describeExpected(option)}, got ${shown}`, {
    param: longFlag(option),
  });
}

/**
 * The value of one text: an element for list options, the whole value otherwise.
 * `source` names where it came from in messages.
 */
export function parseText(option: Option, text: string, source?: string): unknown {
  const value = convert(option, text, source);
  checkElement(option, value, text, source);
  return value;
}

function convert(option: Option, text: string, source?: string): unknown {
  switch (option.type) {
    case 'string':
    case 'strings':
      return text;
    case 'integer':
    case 'integers':
      return INTEGER.test(text) ? Number(text) : refuse(option, text, source);
    case 'number':
      if (INFINITY.test(text)) return Number.POSITIVE_INFINITY;
      return NUMBER.test(text) ? Number(text) : refuse(option, text, source);
    case 'flag':
      if (/^(true|1|yes|on)$/i.test(text)) return true;
      return /^(false|0|no|off)$/i.test(text) ? false : refuse(option, text, source);
    case 'json':
      return parseJsonObject(option, text, source);
  }
}

function parseJsonObject(option: Option, text: string, source?: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return refuse(option, text, source);
  }
}

function checkElement(option: Option, value: unknown, got: unknown, source?: string): void {
  const ok = (() => {
    switch (option.type) {
      case 'string':
      case 'strings':
        return typeof value === 'string' && (option.choices === undefined || option.choices.includes(value));
      case 'integer':
      case 'integers':
        return Number.isSafeInteger(value) && inRange(option, value as number);
      case 'number':
        return typeof value === 'number' && isAllowedNumber(option, value);
      case 'flag':
        return typeof value === 'boolean';
      case 'json':
        return typeof value === 'object' && value !== null && !Array.isArray(value);
    }
  })();
  if (!ok) refuse(option, got, source);
}

function isAllowedNumber(option: Option, value: number): boolean {
  return (Number.isFinite(value) || (option.infinite === true && value > 0)) && inRange(option, value);
}

function inRange({ min, max }: Option, value: number): boolean {
  return (min === undefined || value >= min) && (max === undefined || value <= max);
}

/** Checks a value that is already typed (library use, YAML objects); throws INVALID_OPTION. */
export function checkValue(option: Option, value: unknown, source?: string): void {
  if (!isList(option)) {
    checkElement(option, value, value, source);
    return;
  }
  if (!Array.isArray(value) || value.length === 0) refuse(option, value, source);
  for (const element of value) checkElement(option, element, element, source);
}

// From a command line (and a YAML file, and the environment) to a checked options object.
import type { Command } from 'commander';
import { canonicalArguments } from './canonical-arguments.js';
import { buildCommand, givenValues } from './command.js';
import { readConfigFile } from './config-file.js';
import { FlagMatcher } from './match-flag.js';
import type { Option, OptionsOf } from './option.js';
import { longFlag } from './option-value.js';
import type { Program } from './program.js';
import { type Environment, resolveOptions } from './resolve-options.js';

export interface Parsed<Table extends readonly Option[]> {
  readonly options: OptionsOf<Table>;
  /** Lines for people: options that were given and cannot matter. */
  readonly warnings: readonly string[];
}

/** The arguments after the program's name, in the form `buildCommand` reads. */
export function canonicalise(program: Program, argv: readonly string[]): string[] {
  return canonicalArguments(new FlagMatcher(program), argv);
}

/** The result of a command that commander has parsed. @throws VitrineError INVALID_OPTION */
export function collect<const Table extends readonly Option[]>(
  program: Program<Table>,
  command: Command,
  environment: Environment = process.env,
): Parsed<Table> {
  const given = givenValues(program, command);
  const file = given.get('config');
  given.delete('config');
  if (typeof file === 'string') {
    for (const [key, value] of readConfigFile(program, new FlagMatcher(program), file)) {
      if (!given.has(key)) given.set(key, value);
    }
  }
  const warnings: string[] = [];
  for (const option of program.inert?.options ?? []) {
    if (given.delete(option.key)) warnings.push(`${longFlag(option)} has no effect on ${program.name}`);
  }
  return { options: resolveOptions(program.options, Object.fromEntries(given), environment), warnings };
}

/** Parses the arguments after the program's name. @throws VitrineError INVALID_OPTION */
export function parseArguments<const Table extends readonly Option[]>(
  program: Program<Table>,
  argv: readonly string[],
  environment: Environment = process.env,
): Parsed<Table> {
  const command = buildCommand(program).exitOverride();
  command.parse(canonicalise(program, argv), { from: 'user' });
  return collect(program, command, environment);
}

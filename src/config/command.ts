// Builds the commander command of a program: its flags, its grouped --help, and the reading of what was given.
import { Command, Option as CommanderOption } from 'commander';
import type { Option } from './option.js';
import { isList, parseText } from './option-value.js';
import { CONFIG_OPTION, type Program } from './program.js';

/** `(default: 16; 1 to 1024; env: X)`: the facts after the help sentence, or ''. */
export function describeFacts(option: Option): string {
  const facts: string[] = [];
  if (option.required) facts.push('required');
  if (option.default !== undefined && option.default !== false && option.default !== '') {
    facts.push(`default: ${showDefault(option.default)}`);
  }
  if (option.choices !== undefined) facts.push(`choices: ${option.choices.join(', ')}`);
  if (option.env !== undefined) facts.push(`env: ${option.env}`);
  if (option.negatable) facts.push(`off: --no-${option.flag}`);
  if (option.aliases !== undefined) facts.push(`also: ${option.aliases.map((alias) => `--${alias}`).join(', ')}`);
  return facts.join('; ');
}

export function showDefault(value: NonNullable<Option['default']>): string {
  if (value === Number.POSITIVE_INFINITY) return 'inf';
  if (Array.isArray(value)) return value.join(' ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** `<n>`, `<text...>`: the placeholder of an option's value, or '' for a flag. */
export function placeholder(option: Option): string {
  const names = { string: 'text', strings: 'text...', integer: 'n', integers: 'n...', number: 'x', json: 'json' };
  return option.type === 'flag' ? '' : `<${names[option.type]}>`;
}

function commanderOptions(option: Option): CommanderOption[] {
  const facts = describeFacts(option);
  const help = facts === '' ? option.help : `${option.help} (${facts})`;
  const positive = new CommanderOption(`--${option.flag} ${placeholder(option)}`.trim(), help);
  positive.helpGroup(`${option.group}:`);
  if (option.type !== 'flag') {
    positive.argParser((text: string, previous: unknown) => {
      const value = parseText(option, text);
      return isList(option) ? [...((previous as unknown[] | undefined) ?? []), value] : value;
    });
  }
  if (!option.negatable) return [positive];
  return [positive, new CommanderOption(`--no-${option.flag}`).hideHelp()];
}

const positionalUsage = ({ flag, type }: Option): string => (type === 'strings' ? `<${flag}...>` : `<${flag}>`);

/** A command without an action; its arguments must be canonical (see canonical-arguments). */
export function buildCommand(program: Program): Command {
  const command = new Command(program.name).summary(program.summary).description(program.summary);
  for (const option of program.options) for (const row of commanderOptions(option)) command.addOption(row);
  for (const option of program.inert?.options ?? []) {
    for (const row of commanderOptions(option)) command.addOption(row.hideHelp());
  }
  for (const row of commanderOptions(CONFIG_OPTION)) command.addOption(row);
  const positional = program.options.find((option) => option.positional);
  if (positional !== undefined) command.usage(`${positionalUsage(positional)} [options]`);
  command.helpOption('-h, --help', 'Print this help.');
  if (program.inert !== undefined) {
    command.addHelpText('after', `\nThe other launch-server options are accepted too: ${program.inert.reason}`);
  }
  if (program.examples.length > 0) {
    command.addHelpText('after', `\nExamples:\n${program.examples.map((line) => `  ${line}`).join('\n')}`);
  }
  return command;
}

/** Values by option key of what the command line gave. */
export function givenValues(program: Program, command: Command): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (const option of [...program.options, ...(program.inert?.options ?? []), CONFIG_OPTION]) {
    // Negatable options have an implied default in commander; only what was typed counts.
    const attribute = camelCase(option.flag);
    if (command.getOptionValueSource(attribute) === 'cli') values.set(option.key, command.getOptionValue(attribute));
  }
  return values;
}

const camelCase = (flag: string): string => flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

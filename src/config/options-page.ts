// Renders docs/options.md: every option of every program, from the same tables as the command line.
import { showDefault } from './command.js';
import type { Option } from './option.js';
import { describeExpected } from './option-value.js';
import { CONFIG_OPTION, type Program } from './program.js';
import { PROGRAMS } from './programs.js';

const INTRODUCTION = `# Options

Generated from the tables in \`src/config\` by \`npm run generate\`. Do not edit.

Names of commands and flags may be written with dashes or underscores, and a long flag may be cut to any prefix that only one flag has
(\`--mem-frac=0.5\`). Values follow after a space or an equals sign; flags that take several values take them after one flag
(\`--batch-size 1 8 32\`). A flag that is given twice has its last value. \`--config file.yaml\` reads options from a YAML file; the command line wins
over the file, the file over the environment, the environment over the default. Usage errors exit with status 2, failures with 1.
`;

/** The whole page, ending in a newline. */
export function renderOptionsPage(): string {
  return `${[INTRODUCTION, ...PROGRAMS.map(renderProgram)].join('\n')}`;
}

function renderProgram(program: Program): string {
  const groups = new Map<string, Option[]>();
  for (const option of [...program.options, CONFIG_OPTION]) {
    groups.set(option.group, [...(groups.get(option.group) ?? []), option]);
  }
  const tables = [...groups].map(([group, options]) => renderGroup(group, options));
  const examples = program.examples.map((line) => `${line}\n`).join('');
  const inert =
    program.inert === undefined ? '' : `\nThe other launch-server options are accepted too: ${program.inert.reason}\n`;
  return `## vitrine ${program.name}\n\n${program.summary}\n\n\`\`\`bash\n${examples}\`\`\`\n\n${tables.join('\n')}${inert}`;
}

function renderGroup(group: string, options: readonly Option[]): string {
  const rows = options.map(renderRow).join('\n');
  return `### ${group}\n\n| flag | takes | default | meaning |\n|---|---|---|---|\n${rows}\n`;
}

function renderRow(option: Option): string {
  const names = [option.flag, ...(option.aliases ?? [])].map((name) => `\`--${name}\``);
  if (option.negatable) names.push(`\`--no-${option.flag}\``);
  const cells = [names.join(', '), describeTakes(option), describeDefault(option), describeMeaning(option)];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function describeTakes(option: Option): string {
  if (option.type === 'flag') return 'flag';
  const expected = describeExpected(option);
  return option.type === 'integers' || option.type === 'strings' ? `${expected}, one or more` : expected;
}

function describeDefault(option: Option): string {
  if (option.required) return 'required';
  if (option.default === undefined || option.default === '') return '';
  if (option.type === 'flag') return option.default ? 'on' : 'off';
  return `\`${showDefault(option.default)}\``;
}

function describeMeaning(option: Option): string {
  return option.env === undefined ? option.help : `${option.help} Environment: \`${option.env}\`.`;
}

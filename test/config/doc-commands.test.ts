// Every command line of Vitrine in the pages on profiling is one that its program takes: programs, flags and values.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseArguments } from '#vitrine/config/parse.js';
import { PROGRAMS } from '#vitrine/config/programs.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Commands in blocks of shell and in code within the text: `vitrine PROGRAM …`, lines joined, up to a comment. */
function commandsOf(page: string): string[] {
  const text = readFileSync(`${root}docs/${page}`, 'utf8').replaceAll('\\\n', ' ');
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block]) => block!.split('\n'));
  const inline = [...text.replaceAll(/^```.*?^```/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
  return [...blocks, ...inline].flatMap((line) => {
    const command = /(?:^|[^-.\w/])vitrine ((?:[a-z]+-?)+ .*)$/.exec(line.replace(/\s#.*$/, ''));
    return command === null ? [] : [command[1]!.trim()];
  });
}

/** Words of a shell line without variables; what stands for something else (`…`, `FILE`) is left to its program. */
const words = (line: string) => (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/, '$1'));

for (const page of ['nsight.md', 'profiling.md']) {
  test(`the commands in docs/${page}`, () => {
    const commands = commandsOf(page);
    assert(commands.length >= 8, `${commands.length} commands were found`);
    for (const command of commands) {
      const [name, ...argv] = words(command);
      const program = PROGRAMS.find((candidate) => candidate.name === name);
      assert(program, `vitrine ${command}`);
      if (command.includes('|')) continue; // alternatives, not a line to type
      try {
        parseArguments(program, argv, {});
      } catch (error) {
        assert.fail(`vitrine ${command}: ${(error as Error).message}`);
      }
    }
  });
}

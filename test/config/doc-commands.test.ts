// What the pages have people type is there: programs of Vitrine with their flags and values, npm scripts, programs of the
// repository with their flags, and the flags that the text speaks of.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Option } from '#vitrine/config/option.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { PROGRAMS } from '#vitrine/config/programs.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const pagesIn = (folder: string): string[] => readdirSync(`${root}${folder}`).map((name) => `${folder}/${name}`);

/** Flags of other people's programs: nsys, ncu, compute-sanitizer, node. */
const FOREIGN_FLAGS = [
  ...['capture-range-end', 'cuda-graph-trace', 'delay', 'duration', 'python-backtrace', 'trace-fork-before-exec'],
  ...['capture-range', 'nvtx', 'nvtx-include', 'profile-from-start', 'tool', 'test'],
];

/** Lines of shell blocks, joined and without comments, and the code within the text. */
function codeOf(page: string): { readonly lines: readonly string[]; readonly inline: readonly string[] } {
  const text = read(page).replaceAll('\\\n', ' ');
  const blocks = [...text.matchAll(/^```(?:sh|bash)\n(.*?)^```/gms)].flatMap(([, block]) => block!.split('\n'));
  const inline = [...text.replaceAll(/^```.*?^```/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
  return { lines: blocks.map((line) => line.replace(/(^|\s)#.*$/, '').trim()), inline };
}

/** Words of a command up to what the shell reads next, without quotes; `…` stands for others. */
function wordsOf(command: string): string[] {
  const words = command.match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? [];
  const end = words.findIndex((word) => /^[|&>;]/.test(word));
  const own = (end < 0 ? words : words.slice(0, end)).filter((word) => word !== '…');
  return own.map((word) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'));
}

const flagsOf = (text: string): string[] =>
  [...text.matchAll(/(?:^|[\s[(|/])--([a-z][a-z0-9-]*)/g)].map(([, flag]) => flag!);

/** Of a program of the repository. */
function sourceOf(program: string): string | undefined {
  const name = program.replace(/^build\/tests\//, '');
  const native = name === 'native_tests' ? 'native/test/test_main.cc' : `native/bench/${name}.cc`;
  const path = [`${program}.mjs`, native, program].find((candidate) => existsSync(`${root}${candidate}`));
  return path === undefined ? undefined : read(path);
}

const has = (source: string, flag: string): boolean =>
  source.includes(`--${flag}`) || new RegExp(`\\b${flag}['"]?: \\{ type`).test(source);

const SCRIPTS = (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts;
const PROGRAM_FILES = ['scripts', 'scripts/gpu', 'bench', 'bench/peers', 'native/bench', 'native/test']
  .flatMap(pagesIn)
  .filter((path) => /\.(mjs|cjs|py|cc)$/.test(path))
  .map(read);
const VITRINE_FLAGS = PROGRAMS.flatMap((program) => [
  ...[...program.options, ...(program.inert?.options ?? [])].flatMap(({ flag, aliases = [] }: Option) => [
    ...[flag, ...aliases],
    `no-${flag}`,
  ]),
  ...(program.unsupported ?? []),
  ...['config', 'help'],
]);

for (const page of ['README.md', 'CONTRIBUTING.md', 'bench/peers/README.md', ...pagesIn('docs')]) {
  describe(page, () => {
    const { lines, inline } = codeOf(page);
    const commands = [...lines, ...inline];

    test('commands of vitrine', () => {
      for (const line of commands) {
        const command = /(?:^|[^-.\w/])vitrine ((?:[a-z]+-?)+(?: .*)?)$/.exec(line)?.[1];
        if (command === undefined || /[^|]\|[^|\s]/.test(command)) continue; // alternatives, not a line to type
        const [name, ...argv] = wordsOf(command);
        const program = PROGRAMS.find((candidate) => candidate.name === name);
        assert(program, `vitrine ${command}`);
        try {
          parseArguments(program, argv, {});
        } catch (error) {
          const { message } = error as Error;
          if (inline.includes(line) && / is required$/.test(message)) continue; // the text speaks of what matters there
          assert.fail(`vitrine ${command}: ${message}`);
        }
      }
    });

    test('npm scripts', () => {
      for (const line of commands) {
        for (const [, script] of line.matchAll(/npm run (?:-s |--silent )?([\w:-]+)/g)) {
          assert(script! in SCRIPTS, `npm run ${script}`);
        }
      }
    });

    test('programs of the repository', () => {
      for (const line of commands) {
        const [, program, rest] = /(?:^|\s)((?:scripts|bench|build\/tests)\/[\w./-]+)(.*)$/.exec(line) ?? [];
        if (program === undefined || program.endsWith('/') || /\.(md|so|json)$/.test(program)) continue;
        const source = sourceOf(program);
        assert(source !== undefined, `${program}: there is no such program`);
        for (const flag of flagsOf(rest!)) assert(has(source, flag), `${program} has no --${flag}`);
      }
    });

    test('flags in the text', () => {
      for (const flag of inline.flatMap(flagsOf)) {
        const isKnown =
          VITRINE_FLAGS.some((known) => known.startsWith(flag)) || // flags may be abbreviated
          FOREIGN_FLAGS.includes(flag) ||
          PROGRAM_FILES.some((source) => has(source, flag));
        assert(isKnown, `--${flag}`);
      }
    });
  });
}

test('commands are found', () => {
  const found = ['README.md', 'docs/nsight.md', 'docs/profiling.md', 'docs/benchmarking.md'].map((page) => {
    const { lines, inline } = codeOf(page);
    return [...lines, ...inline].filter((line) => /\bvitrine [a-z]+(-[a-z]+)* --/.test(line)).length;
  });
  assert(Math.min(...found) >= 6, found.join());
});

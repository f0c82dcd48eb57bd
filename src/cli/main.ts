#!/usr/bin/env node
// The `vitrine` program: finds the command, reads its options, runs it, and turns errors into one line and an exit code
// (0 done, 1 failed, 2 usage). Commands are loaded only when they run, so that --help needs neither addon nor server.
import { Command, CommanderError } from 'commander';
import { closest } from '../config/closest.js';
import { buildCommand } from '../config/command.js';
import type { OptionsOf } from '../config/option.js';
import { canonicalise, collect } from '../config/parse.js';
import type { Program } from '../config/program.js';
import {
  BENCH_COMPARE,
  BENCH_ONE_BATCH,
  BENCH_SERVING,
  GENERATE,
  LAUNCH_SERVER,
  MERGE_TRACES,
  PROFILER,
  PROGRAMS,
  SEND_ONE,
  TRACE_SUMMARY,
  UNSUPPORTED_PROGRAMS,
} from '../config/programs.js';
import { toError, VitrineError } from '../util/errors.js';
import { packageVersion } from '../util/package-version.js';

interface Entry {
  readonly program: Program;
  /** Runs the command and resolves with the exit code. */
  readonly run: (command: Command) => Promise<number>;
}

function entry<const P extends Program>(
  program: P,
  load: () => Promise<{ run(options: OptionsOf<P['options']>): Promise<number> }>,
): Entry {
  const run = async (command: Command): Promise<number> => {
    const { options, warnings } = collect(program, command);
    for (const line of warnings) process.stderr.write(`warning: ${line}\n`);
    const module = await load();
    return module.run(options as OptionsOf<P['options']>);
  };
  return { program, run };
}

const ENTRIES: readonly Entry[] = [
  entry(LAUNCH_SERVER, () => import('./launch-server.js')),
  entry(GENERATE, () => import('./generate.js')),
  entry(BENCH_ONE_BATCH, () => import('./bench-one-batch.js')),
  entry(BENCH_SERVING, () => import('./bench-serving.js')),
  entry(BENCH_COMPARE, () => import('./bench-compare.js')),
  entry(PROFILER, () => import('./profiler.js')),
  entry(SEND_ONE, () => import('./send-one.js')),
  entry(MERGE_TRACES, () => import('./merge-traces.js')),
  entry(TRACE_SUMMARY, () => import('./trace-summary.js')),
];

function findEntry(word: string): Entry {
  const name = word.replaceAll('_', '-');
  const found = ENTRIES.find(({ program }) => program.name === name);
  if (found !== undefined) return found;
  const names = PROGRAMS.map((program) => program.name);
  if (UNSUPPORTED_PROGRAMS.includes(name)) {
    const message = `${word} is an SGLang program that Vitrine does not have yet; there are ${names.join(', ')}`;
    throw new VitrineError('INVALID_OPTION', message);
  }
  const similar = closest(name, names);
  const hint = similar.length > 0 ? `did you mean ${similar.join(' or ')}?` : `the commands are ${names.join(', ')}`;
  throw new VitrineError('INVALID_OPTION', `unknown command '${word}'; ${hint}`);
}

function rootCommand(finish: (exitCode: number) => void): Command {
  const root = new Command('vitrine')
    .description('An LLM serving engine for Node.js, compatible with SGLang’s server and benchmarks.')
    .usage('<command> [options]')
    .version(packageVersion(), '-V, --version', 'Print the version.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand('help [command]', 'Print the help of a command.')
    .exitOverride()
    .configureHelp({ helpWidth: Math.min(process.stdout.columns ?? 110, 120) })
    .configureOutput({ outputError: () => {} });
  for (const { program, run } of ENTRIES) {
    const command = buildCommand(program).copyInheritedSettings(root);
    command.action(async () => finish(await run(command)));
    root.addCommand(command);
  }
  root.addHelpText('after', '\nvitrine <command> --help lists the options of a command.');
  return root;
}

/** Rewrites `argv` so that commander need not guess. */
function canonicalCommandLine(argv: readonly string[]): string[] {
  const [word, ...rest] = argv;
  if (word === undefined) return ['--help'];
  if (word === 'help') return rest.length === 0 ? ['--help'] : [findEntry(rest[0]!).program.name, '--help'];
  if (word.startsWith('-')) return [...argv];
  const { program } = findEntry(word);
  return [program.name, ...canonicalise(program, rest)];
}

/** The text of an error for people: one line; with its stack where that was asked for. */
function report(thrown: unknown, argv: readonly string[]): number {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode !== 0) process.stderr.write(`vitrine: ${thrown.message.replace(/^error: /, '')}\n`);
    return thrown.exitCode === 0 ? 0 : 2;
  }
  const error = toError(thrown);
  const code = error instanceof VitrineError ? error.code : 'INTERNAL';
  const wantsStack = /(^|\s)--log[-_]level[= ]debug(\s|$)/.test(argv.join(' '));
  const where = code === 'INVALID_OPTION' ? '' : ` [${code}]`;
  process.stderr.write(`vitrine: ${wantsStack && error.stack !== undefined ? error.stack : error.message}${where}\n`);
  return code === 'INVALID_OPTION' ? 2 : 1;
}

async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  try {
    const root = rootCommand((code) => {
      exitCode = code;
    });
    await root.parseAsync(canonicalCommandLine(argv), { from: 'user' });
  } catch (thrown) {
    exitCode = report(thrown, argv);
  }
  return exitCode;
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
process.exitCode = await main(process.argv.slice(2));

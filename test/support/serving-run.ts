// Runs bench-serving against a FakeLlmServer, with what it printed, warned and wrote.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ResultRow } from '#vitrine/bench/results/figures.js';
import { benchServing, type ServingResult } from '#vitrine/bench/serving/serving.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { createFakeAddon } from './fake-engine.js';
import { type Behaviour, FakeLlmServer } from './fake-llm-server.js';

const TOKENIZER = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

export interface ServingRun extends ServingResult {
  /** Of the last run. */
  readonly row: ResultRow;
  readonly printed: string;
  readonly warned: string;
  readonly server: FakeLlmServer;
}

export interface ServingRunSettings {
  /** The result file is written here. */
  readonly folder: string;
  readonly behave?: (index: number) => Behaviour;
  readonly interrupt?: AbortSignal;
  readonly onServer?: (server: FakeLlmServer) => void;
}

/** Without warm-up, so that what the server receives is the workload. */
export async function runServing(flags: readonly string[], settings: ServingRunSettings): Promise<ServingRun> {
  const server = await FakeLlmServer.start(settings.behave);
  settings.onServer?.(server);
  const fixed = ['--base-url', server.url, '--tokenizer', TOKENIZER, '--warmup-requests', '0'];
  const file = ['--output-file', join(settings.folder, 'result.jsonl')];
  const printed: string[] = [];
  const warned: string[] = [];
  try {
    const { options } = parseArguments(BENCH_SERVING, [...fixed, ...file, ...flags], {});
    const result = await benchServing(options, {
      output: { print: (line) => printed.push(line), warn: (line) => warned.push(line) },
      interrupt: settings.interrupt ?? new AbortController().signal,
      environment: {},
      addon: createFakeAddon,
    });
    return { ...result, row: result.rows.at(-1)!, printed: printed.join('\n'), warned: warned.join('\n'), server };
  } finally {
    await server.close();
  }
}

/** The rows of a JSONL file. */
export async function readRows(path: string): Promise<Record<string, unknown>[]> {
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

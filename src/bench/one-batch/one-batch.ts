// bench-one-batch: the model runner alone, over a sweep of batch sizes and lengths. Lines, file and rules are SGLang's.
import { readFile } from 'node:fs/promises';
import { ENGINE_OPTIONS } from '../../config/engine-options.js';
import type { OneBatchOptions } from '../../config/one-batch-options.js';
import { resolveOptions } from '../../config/resolve-options.js';
import { SCHEDULER_OPTIONS, type SchedulerOptions } from '../../config/scheduler-options.js';
import { ModelRunner } from '../../engine/model-runner.js';
import { resolveModelDirectory } from '../../model/hub.js';
import { prepareModel } from '../../model/prepare-model.js';
import type { NativeAddon } from '../../native/addon.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import { appendJsonl } from '../append-jsonl.js';
import type { Output } from '../output.js';
import { Random } from '../random.js';
import { CORRECTNESS_PROMPTS, runCorrectnessTest } from './correctness-test.js';
import { type BatchPoint, type OneBatchRow, runLatencyTest } from './latency-test.js';

export interface OneBatchDeps {
  readonly addon: NativeAddon;
  readonly output: Output;
  readonly log: Log;
}

/** Random prompts use ids below it, as SGLang's do. */
const MOST_RANDOM_ID = 10_000;
const WARM_UP_OUTPUT = 32;

/** Resolves with the rows that were measured. Errors: those of loading a model; INVALID_OPTION. */
export async function runOneBatch(options: OneBatchOptions, deps: OneBatchDeps): Promise<readonly OneBatchRow[]> {
  const { output, log, addon } = deps;
  const texts = await readPrompts(options.promptFilename, output);
  const points = sweep(options);
  const tokenizer = options.correctnessTest || texts !== null ? await loadTokenizer(options, log) : null;
  const model = await prepareModel(options, log);
  if (!options.correctnessTest) checkLengths(points, model.contextLength);

  const largest = options.correctnessTest
    ? Math.max(CORRECTNESS_PROMPTS.length, texts?.length ?? 0)
    : Math.max(...points.map(({ batchSize }) => batchSize));
  const prefillTokens = Math.max(model.contextLength, ...points.map((p) => p.batchSize * p.inputLen));
  const runner = ModelRunner.create({ addon, model, log, options: runnerOptions(options, largest, prefillTokens) });
  try {
    const { limits } = runner;
    output.print(`max_total_num_tokens=${limits.numBlocks * limits.blockSize}`);
    if (options.correctnessTest) {
      const { cutLen, outputLen } = options;
      const test = { runner, tokenizer: tokenizer!, output, cutLen, outputLen: outputLen[0]! };
      await runCorrectnessTest(test, texts ?? CORRECTNESS_PROMPTS);
      return [];
    }
    return await runSweep(options, runner, points, texts === null ? null : await encodeAll(tokenizer!, texts), output);
  } finally {
    runner.close();
  }
}

async function runSweep(
  options: OneBatchOptions,
  runner: ModelRunner,
  points: readonly BatchPoint[],
  given: readonly (readonly number[])[] | null,
  output: Output,
): Promise<OneBatchRow[]> {
  const { runName, logDecodeStep, resultFilename } = options;
  const random = new Random(options.randomSeed ?? 0, 'one-batch');
  const promptsFor = (point: BatchPoint) =>
    given === null
      ? randomPrompts(point, runner.limits.vocabSize, random)
      : Array.from({ length: point.batchSize }, (_, i) => given[Math.min(i, given.length - 1)]!);
  const test = { runner, output, runName, logDecodeStep };

  output.print('Warmup ...');
  const first = points[0]!;
  const warmUp = { ...first, outputLen: Math.min(WARM_UP_OUTPUT, first.outputLen) };
  if (fits(warmUp, runner)) await runLatencyTest(test, warmUp, promptsFor(warmUp));

  output.print('Benchmark ...');
  const rows: OneBatchRow[] = [];
  for (const point of points) {
    const { batchSize, inputLen, outputLen } = point;
    if (!fits(point, runner)) {
      output.print(`skipping (${batchSize}, ${inputLen}, ${outputLen}) due to max batch size limit.`);
      continue;
    }
    rows.push(await runLatencyTest(test, point, promptsFor(point)));
  }
  if (resultFilename !== '' && rows.length > 0) await appendJsonl(resultFilename, rows, '--result-filename');
  return rows;
}

function sweep({ batchSize, inputLen, outputLen }: OneBatchOptions): BatchPoint[] {
  return batchSize.flatMap((b) =>
    inputLen.flatMap((i) => outputLen.map((o) => ({ batchSize: b, inputLen: i, outputLen: o }))),
  );
}

/** Each request has whole blocks of its own. */
function fits({ batchSize, inputLen, outputLen }: BatchPoint, { limits }: ModelRunner): boolean {
  return batchSize * Math.ceil((inputLen + outputLen) / limits.blockSize) <= limits.numBlocks;
}

function checkLengths(points: readonly BatchPoint[], contextLength: number): void {
  for (const { inputLen, outputLen } of points) {
    if (inputLen + outputLen <= contextLength) continue;
    const message =
      `--input-len ${inputLen} and --output-len ${outputLen} make ${inputLen + outputLen} tokens, more than the ` +
      `context length of ${contextLength}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--input-len' });
  }
}

function randomPrompts({ batchSize, inputLen }: BatchPoint, vocabSize: number, random: Random): number[][] {
  const most = Math.min(MOST_RANDOM_ID, vocabSize) - 1;
  return Array.from({ length: batchSize }, () => Array.from({ length: inputLen }, () => random.integer(0, most)));
}

/** null: no file was asked for, or it is missing (SGLang goes on with random prompts then; so do we, and say it). */
async function readPrompts(path: string, output: Output): Promise<string[] | null> {
  if (path === '') return null;
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) {
    output.warn(`Custom prompt file ${path} not found. Using default inputs...`);
    return null;
  }
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (lines.length > 0) return lines;
  throw new VitrineError('INVALID_OPTION', `--prompt-filename ${path} holds no prompt`, { param: '--prompt-filename' });
}

function encodeAll(tokenizer: Tokenizer, texts: readonly string[]): Promise<number[][]> {
  return Promise.all(texts.map((text) => tokenizer.encode(text, true)));
}

async function loadTokenizer(options: OneBatchOptions, log: Log): Promise<Tokenizer> {
  const { tokenizerPath, modelPath, revision } = options;
  const from = tokenizerPath ?? modelPath;
  const directory = await resolveModelDirectory(from, {
    revision: tokenizerPath === undefined ? revision : 'main',
    what: 'tokenizer',
    log,
  });
  return Tokenizer.load(directory);
}

/** The runner takes a scheduler's options; only slots and step size are not the user's here. */
function runnerOptions(options: OneBatchOptions, slots: number, prefillTokens: number): SchedulerOptions {
  const engine = Object.fromEntries(
    ENGINE_OPTIONS.map(({ key }) => [key, options[key]]).filter(([, value]) => value !== undefined),
  );
  return resolveOptions(
    SCHEDULER_OPTIONS,
    { ...engine, maxRunningRequests: slots, chunkedPrefillSize: -1, maxPrefillTokens: prefillTokens },
    {},
  );
}

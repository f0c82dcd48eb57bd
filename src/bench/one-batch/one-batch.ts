// The bench-one-batch program: loads a model and times static batches on it, or prints what it computes.

import { resolveOptions } from '../../config/resolve-options.js';
import { ONE_BATCH_OPTIONS, type OneBatchOptions } from '../../config/tables/one-batch-options.js';
import { SCHEDULER_OPTIONS } from '../../config/tables/scheduler-options.js';
import { ModelRunner } from '../../engine/model-runner.js';
import { resolveModelDirectory } from '../../model/hub.js';
import { type PreparedModel, prepareModel } from '../../model/prepare-model.js';
import { StepWork } from '../../model/step-work.js';
import type { NativeAddon } from '../../native/addon.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import { flagFacts } from '../html-report/about.js';
import { sweepReport } from '../html-report/sweep-report.js';
import { prepareReport, writeReport } from '../html-report/write-report.js';
import { appendJsonl, prepareJsonl } from '../results/append-jsonl.js';
import { machineLimits, refuseRooflineOf } from '../roofline/machine-limits.js';
import type { Output } from '../terminal/output.js';
import { FIXED_PROMPTS, testCorrectness } from './correctness-test.js';
import type { LatencyRow } from './latency-test.js';
import { PointProfiler } from './point-profiler.js';
import { PointRoofline } from './point-roofline.js';
import { fitToBatch, readPrompts } from './prompt-file.js';
import { type BatchShape, Sweep } from './sweep.js';

export interface OneBatchDeps {
  readonly addon: NativeAddon;
  readonly output: Output;
  readonly log: Log;
  /** The user wants to stop: the points that were measured are saved. */
  readonly interrupt: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs the sweep (or the correctness test) and appends its rows to the result file; gives the rows. Rejects with ABORTED
 * after an interruption, when what was measured has been saved.
 */
export async function benchOneBatch(options: OneBatchOptions, deps: OneBatchDeps): Promise<readonly LatencyRow[]> {
  const { output } = deps;
  if (options.roofline) refuseRooflineOf(options.device);
  const savesRows = options.resultFilename !== '' && !options.correctnessTest;
  if (savesRows) await prepareJsonl(options.resultFilename, '--result-filename');
  if (options.report !== undefined) {
    if (options.correctnessTest) {
      const message = '--report: works with a sweep, not with --correctness-test';
      throw new VitrineError('INVALID_OPTION', message, { param: '--report' });
    }
    await prepareReport(options.report, [options.resultFilename]);
  }
  const profiler = await PointProfiler.create(options, deps);
  const model = await prepareModel(options, deps.log);
  const texts = await readPrompts(options.promptFilename, output);
  const needsTokenizer = options.correctnessTest || texts.length > 0;
  const tokenizer = needsTokenizer ? await loadTokenizer(options, deps.log) : undefined;
  const prompts = tokenizer === undefined ? [] : await encodeAll(tokenizer, texts);
  if (options.correctnessTest) {
    await runCorrectnessTest(options, deps, model, tokenizer!, prompts);
    return [];
  }
  const sweep = new Sweep(options, model, prompts, output);
  const roofline = options.roofline ? await findRoofline(options, deps, model) : undefined;
  const runner = createRunner(options, deps, model, sweep.points.map(sweep.shapeOf));
  try {
    if (options.roofline) refuseRooflineOf(runner.device.kind); // what auto has chosen
    const save = async (row: LatencyRow): Promise<void> => {
      if (savesRows) await appendJsonl(options.resultFilename, [row], '--result-filename');
    };
    const rows = await sweep.run(runner, deps.interrupt, save, profiler, roofline);
    if (deps.interrupt.aborted) {
      throw new VitrineError('ABORTED', `Interrupted: ${rows.length} of ${sweep.points.length} points were measured`);
    }
    if (options.report !== undefined) {
      const about = [flagFacts(ONE_BATCH_OPTIONS, options)];
      await writeReport(options.report, sweepReport(`bench-one-batch: ${options.modelPath}`, rows, about));
      output.print(`Report: ${options.report}`);
    }
    return rows;
  } finally {
    runner.close();
  }
}

/** Measures only where it must, and before there is an engine: its threads would be in the way. */
async function findRoofline(
  { cpuThreads: threads, measureLimits: measureAgain }: OneBatchOptions,
  { addon, output, environment }: OneBatchDeps,
  { spec }: PreparedModel,
): Promise<PointRoofline> {
  const limits = await machineLimits({ addon, output, environment, threads, measureAgain });
  return new PointRoofline(new StepWork(spec), limits, spec.dtype);
}

async function runCorrectnessTest(
  options: OneBatchOptions,
  deps: OneBatchDeps,
  model: PreparedModel,
  tokenizer: Tokenizer,
  custom: readonly (readonly number[])[],
): Promise<void> {
  const prompts =
    custom.length > 0
      ? fitToBatch(custom, Math.min(custom.length, options.batchSize[0]!), deps.output)
      : await encodeAll(tokenizer, FIXED_PROMPTS);
  const outputLen = options.outputLen[0]!;
  const longest = Math.max(...prompts.map((ids) => ids.length)) + outputLen;
  if (longest > model.contextLength) {
    const message = `prompt and output take ${longest} tokens, the model’s context is ${model.contextLength}`;
    throw new VitrineError('INVALID_OPTION', `--output-len ${outputLen}: ${message}`, { param: '--output-len' });
  }
  const batchSize = prompts.length;
  const tokens = prompts.reduce((total, ids) => total + ids.length, 0);
  const runner = createRunner(options, deps, model, [{ batchSize, longest, tokens }]);
  try {
    const settings = { cutLen: options.cutLen, outputLen, interrupt: deps.interrupt };
    await testCorrectness(runner, tokenizer, prompts, settings, deps.output);
  } finally {
    runner.close();
  }
}

/** A runner with room for the largest of `shapes` and no more. */
function createRunner(
  options: OneBatchOptions,
  { addon, log, output }: OneBatchDeps,
  model: PreparedModel,
  shapes: readonly BatchShape[],
): ModelRunner {
  const most = (read: (shape: BatchShape) => number): number => Math.max(1, ...shapes.map(read));
  const { modelPath, device, baseGpuId, cpuThreads, cpuIsa, pageSize, maxTotalTokens, memFractionStatic } = options;
  const { enableLayerwiseNvtxMarker, disableCudaGraph, cudaGraphMaxBs, cudaGraphBs } = options;
  const runner = ModelRunner.create({
    addon,
    log,
    // A shorter context makes for smaller workspaces; results do not depend on it.
    model: {
      ...model,
      contextLength: Math.min(
        model.contextLength,
        most((shape) => shape.longest),
      ),
    },
    options: resolveOptions(SCHEDULER_OPTIONS, {
      ...{ modelPath, device, baseGpuId, cpuThreads, cpuIsa, pageSize, maxTotalTokens, memFractionStatic },
      ...{ enableLayerwiseNvtxMarker, disableCudaGraph, cudaGraphMaxBs, cudaGraphBs },
      maxRunningRequests: most((shape) => shape.batchSize),
      chunkedPrefillSize: -1,
      maxPrefillTokens: most((shape) => shape.tokens),
    }),
  });
  output.print(`max_total_num_tokens=${runner.limits.numBlocks * runner.limits.blockSize}`);
  return runner;
}

async function loadTokenizer(options: OneBatchOptions, log: Log): Promise<Tokenizer> {
  const { tokenizerPath, modelPath, revision } = options;
  const directory = await resolveModelDirectory(tokenizerPath ?? modelPath, {
    revision: tokenizerPath === undefined ? revision : 'main',
    what: 'tokenizer',
    log,
  });
  return Tokenizer.load(directory);
}

function encodeAll(tokenizer: Tokenizer, texts: readonly string[]): Promise<number[][]> {
  return Promise.all(texts.map((text) => tokenizer.encode(text, true)));
}

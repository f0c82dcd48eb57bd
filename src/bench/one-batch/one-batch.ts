// The bench-one-batch program: loads a model and times static batches on it, or prints what it computes.
import { randomInt } from 'node:crypto';
import type { OneBatchOptions } from '../../config/one-batch-options.js';
import { resolveOptions } from '../../config/resolve-options.js';
import { SCHEDULER_OPTIONS } from '../../config/scheduler-options.js';
import { ModelRunner } from '../../engine/model-runner.js';
import { resolveModelDirectory } from '../../model/hub.js';
import { type PreparedModel, prepareModel } from '../../model/prepare-model.js';
import type { NativeAddon } from '../../native/addon.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import { appendJsonl, prepareJsonl } from '../append-jsonl.js';
import type { Output } from '../output.js';
import { Random } from '../random.js';
import { FIXED_PROMPTS, testCorrectness } from './correctness-test.js';
import { type LatencyRow, type Point, timePoint } from './latency-test.js';
import { fitToBatch, readPrompts } from './prompt-file.js';

/** Random prompts are of ids below it, as in SGLang. */
const RANDOM_ID_LIMIT = 10_000;
const WARMUP_OUTPUT_LEN = 32;

export interface OneBatchDeps {
  readonly addon: NativeAddon;
  readonly output: Output;
  readonly log: Log;
}

/** Runs the sweep (or the correctness test) and appends its rows to the result file; gives the rows. */
export async function benchOneBatch(options: OneBatchOptions, deps: OneBatchDeps): Promise<readonly LatencyRow[]> {
  const { output } = deps;
  const savesRows = options.resultFilename !== '' && !options.correctnessTest;
  if (savesRows) await prepareJsonl(options.resultFilename, '--result-filename');
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
  const runner = createRunner(options, deps, model, sweep.points.map(sweep.shapeOf));
  try {
    const rows = await sweep.run(runner);
    if (savesRows) await appendJsonl(options.resultFilename, rows, '--result-filename');
    return rows;
  } finally {
    runner.close();
  }
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
    await testCorrectness(runner, tokenizer, prompts, { cutLen: options.cutLen, outputLen }, deps.output);
  } finally {
    runner.close();
  }
}

/** What a batch asks of the runner. */
interface BatchShape {
  readonly batchSize: number;
  /** Tokens of its longest sequence at the end. */
  readonly longest: number;
  /** Tokens of its prefill step. */
  readonly tokens: number;
}

/** A runner with room for the largest of `shapes` and no more. */
function createRunner(
  options: OneBatchOptions,
  { addon, log, output }: OneBatchDeps,
  model: PreparedModel,
  shapes: readonly BatchShape[],
): ModelRunner {
  const most = (read: (shape: BatchShape) => number): number => Math.max(1, ...shapes.map(read));
  const { modelPath, pageSize, maxTotalTokens, memFractionStatic, cpuThreads, cpuIsa } = options;
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
      ...{ modelPath, pageSize, maxTotalTokens, memFractionStatic, cpuThreads, cpuIsa },
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

/** Batch sizes × input lengths × output lengths, in that order of nesting. */
class Sweep {
  readonly points: readonly Point[];
  readonly #options: OneBatchOptions;
  readonly #model: PreparedModel;
  /** Of the prompt file, as token ids; none: random ids. */
  readonly #prompts: readonly (readonly number[])[];
  readonly #output: Output;
  readonly #random: Random;

  constructor(options: OneBatchOptions, model: PreparedModel, prompts: readonly (readonly number[])[], output: Output) {
    this.#options = options;
    this.#model = model;
    this.#prompts = prompts;
    this.#output = output;
    this.#random = new Random(options.randomSeed ?? randomInt(2 ** 32), 'one-batch prompts');
    this.points = options.batchSize.flatMap((batchSize) =>
      options.inputLen.flatMap((inputLen) =>
        options.outputLen.map((outputLen) => ({ batchSize, inputLen, outputLen })),
      ),
    );
  }

  readonly shapeOf = ({ batchSize, inputLen, outputLen }: Point): BatchShape => {
    if (this.#prompts.length === 0) {
      return { batchSize, longest: inputLen + outputLen, tokens: batchSize * inputLen };
    }
    const longest = Math.max(...this.#prompts.map((ids) => ids.length));
    return { batchSize, longest: longest + outputLen, tokens: batchSize * longest };
  };

  async run(runner: ModelRunner): Promise<LatencyRow[]> {
    const { runName, logDecodeStep } = this.#options;
    const first = this.points[0]!;
    this.#output.print('Warmup ...');
    const warmUp = { ...first, outputLen: Math.min(WARMUP_OUTPUT_LEN, first.outputLen) };
    if (this.#fits(warmUp, runner)) {
      await timePoint(runner, warmUp, this.#inputs(warmUp), { runName, logDecodeStep: 0 }, this.#output);
    }
    this.#output.print('Benchmark ...');
    const rows: LatencyRow[] = [];
    for (const point of this.points) {
      if (!this.#fits(point, runner)) continue;
      rows.push(await timePoint(runner, point, this.#inputs(point), { runName, logDecodeStep }, this.#output));
    }
    if (rows.length > 0) return rows;
    throw new VitrineError('BENCH_FAILED', 'No point of the sweep fits: nothing was measured');
  }

  /** False, with a line that says why, for a point that the model or the KV cache has no room for. */
  #fits(point: Point, { limits }: ModelRunner): boolean {
    const { batchSize, inputLen, outputLen } = point;
    const { longest } = this.shapeOf(point);
    const name = `skipping (${batchSize}, ${inputLen}, ${outputLen}) due to`;
    if (longest > this.#model.contextLength) {
      this.#output.print(`${name} context length limit: ${longest} > ${this.#model.contextLength}`);
      return false;
    }
    if (batchSize * Math.ceil(longest / limits.blockSize) > limits.numBlocks) {
      this.#output.print(`${name} max batch size limit`);
      return false;
    }
    return true;
  }

  #inputs({ batchSize, inputLen }: Point): ArrayLike<number>[] {
    if (this.#prompts.length > 0) return fitToBatch(this.#prompts, batchSize, this.#output);
    const last = Math.min(RANDOM_ID_LIMIT, this.#model.spec.vocabSize) - 1;
    return Array.from({ length: batchSize }, () =>
      Int32Array.from({ length: inputLen }, () => this.#random.integer(0, last)),
    );
  }
}

// The points of a bench-one-batch run and their inputs: batch sizes × input lengths × output lengths.
import { randomInt } from 'node:crypto';
import type { OneBatchOptions } from '../../config/tables/one-batch-options.js';
import type { ModelRunner } from '../../engine/model-runner.js';
import type { PreparedModel } from '../../model/prepare-model.js';
import { VitrineError } from '../../util/errors.js';
import { Random } from '../random.js';
import type { Output } from '../terminal/output.js';
import { type LatencyRow, type Point, timePoint } from './latency-test.js';
import type { PointProfiler } from './point-profiler.js';
import type { PointRoofline } from './point-roofline.js';
import { fitToBatch } from './prompt-file.js';

/** Random prompts are of ids below it, as in SGLang. */
const RANDOM_ID_LIMIT = 10_000;
const WARMUP_OUTPUT_LEN = 32;

/** What a batch asks of the runner. */
export interface BatchShape {
  readonly batchSize: number;
  /** Tokens of its longest sequence at the end. */
  readonly longest: number;
  /** Tokens of its prefill step. */
  readonly tokens: number;
}

export class Sweep {
  /** Output lengths change fastest, batch sizes slowest. */
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

  /**
   * `onRow`: keeps each row as soon as it is there. `profiler`: repeats every point after it was timed. After an
   * interruption the rows are those of the points before; rejects with ABORTED where there is none.
   */
  async run(
    runner: ModelRunner,
    interrupt: AbortSignal,
    onRow: (row: LatencyRow) => Promise<void>,
    profiler?: PointProfiler,
    roofline?: PointRoofline,
  ): Promise<LatencyRow[]> {
    const { runName, logDecodeStep } = this.#options;
    const settings = { runName, logDecodeStep, interrupt, ...(roofline === undefined ? {} : { roofline }) };
    const first = this.points[0]!;
    this.#output.print('Warmup ...');
    const warmUp = { ...first, outputLen: Math.min(WARMUP_OUTPUT_LEN, first.outputLen) };
    if (this.#fits(warmUp, runner)) {
      await timePoint(runner, warmUp, this.#inputs(warmUp), { runName, logDecodeStep: 0, interrupt }, this.#output);
    }
    this.#output.print('Benchmark ...');
    const rows: LatencyRow[] = [];
    for (const point of this.points) {
      if (!this.#fits(point, runner)) continue;
      const inputs = this.#inputs(point);
      try {
        const row = await timePoint(runner, point, inputs, settings, this.#output);
        rows.push(row);
        await onRow(row);
        await profiler?.profile(runner, point, inputs);
      } catch (thrown) {
        if (!interrupt.aborted || rows.length === 0) throw thrown;
        return rows;
      }
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

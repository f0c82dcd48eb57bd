// The prompts of a case, as token ids: the same for the same case and seed.
import type { OneBatchServerOptions } from '../../config/tables/one-batch-server-options.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { randomWorkload } from '../datasets/random.js';
import type { Point } from '../one-batch/latency-test.js';
import { Random } from '../random.js';

export class CasePrompts {
  readonly #options: OneBatchServerOptions;
  readonly #tokenizer: Tokenizer;
  /** Ordinary tokens: a special one could end a sequence or mean an image. */
  readonly #ids: readonly number[];

  constructor(options: OneBatchServerOptions, tokenizer: Tokenizer) {
    this.#options = options;
    this.#tokenizer = tokenizer;
    const all = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
    this.#ids = all.filter((id) => !tokenizer.specialIds.has(id));
  }

  /** `batchSize` prompts of `inputLen` tokens. @throws VitrineError INVALID_OPTION where the file has too few rows */
  async of({ batchSize, inputLen, outputLen }: Point): Promise<readonly (readonly number[])[]> {
    const { datasetName, datasetPath, seed, gspNumGroups, gspQuestionLen } = this.#options;
    const random = new Random(seed, `batch ${batchSize} × ${inputLen}`);
    if (datasetName === 'generated-shared-prefix') {
      const groups = Math.min(gspNumGroups, batchSize);
      // A warm-up may be shorter than one question.
      const questionLen = Math.min(gspQuestionLen, inputLen);
      const systems = Array.from({ length: groups }, () => this.#draw(random, inputLen - questionLen));
      return Array.from({ length: batchSize }, (_, i) => [...systems[i % groups]!, ...this.#draw(random, questionLen)]);
    }
    if (datasetPath === '') return Array.from({ length: batchSize }, () => this.#draw(random, inputLen));
    const { requests } = await randomWorkload(this.#tokenizer, datasetPath, {
      ...{ numPrompts: batchSize, seed, inputLen, outputLen, rangeRatio: 1, tokenizePrompt: true },
    });
    if (requests.length === batchSize) return requests.map(({ prompt }) => prompt as readonly number[]);
    const message = `--dataset-path ${datasetPath}: ${requests.length} rows can be used, batch size ${batchSize} needs more`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--dataset-path' });
  }

  #draw(random: Random, length: number): number[] {
    return Array.from({ length }, () => this.#ids[random.integer(0, this.#ids.length - 1)]!);
  }
}

// A loaded model that runs ForwardBatches: owns the native engine, its weights and the size of its KV cache.
import type { SchedulerOptions } from '../config/scheduler-options.js';
import type { PreparedModel } from '../model/prepare-model.js';
import type { MemoryInfo, NativeAddon, NativeEngine } from '../native/addon.js';
import { monotonicSeconds } from '../util/clock.js';
import { VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { encodeForwardBatch, type ForwardBatch } from './forward-batch.js';
import { LAYOUT_VERSION } from './forward-batch-layout.js';
import { StepOutput } from './step-output.js';

export interface RunnerLimits {
  readonly numBlocks: number;
  /** Tokens per block. */
  readonly blockSize: number;
  /** Request slots. */
  readonly maxRequests: number;
  /** Most tokens in one ForwardBatch. */
  readonly maxBatchTokens: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly weightBytes: number;
  readonly kvCacheBytes: number;
  readonly loadSeconds: number;
}

export type StepListener = (error: VitrineError | null, output: StepOutput | null) => void;

export class ModelRunner {
  readonly limits: RunnerLimits;
  readonly #engine: NativeEngine;
  #listener: StepListener = () => {};

  private constructor(deps: RunnerDeps) {
    const { addon, model, options, log } = deps;
    const layout = addon.buildInfo().layoutVersion;
    if (layout !== LAYOUT_VERSION) {
      throw new VitrineError(
        'NATIVE_UNAVAILABLE',
        `The native addon speaks step layout ${layout}, this package ${LAYOUT_VERSION}: rebuild it with \`npm rebuild vitrine\`.`,
      );
    }
    const started = monotonicSeconds();
    this.#engine = new addon.Engine(
      { device: 'cpu', spec: model.spec, cpuThreads: options.cpuThreads, cpuIsa: options.cpuIsa },
      (error, output) => this.#onStep(error, output),
    );
    try {
      this.#engine.loadWeights(model.loadPlan);
      const { pageSize: blockSize, maxRunningRequests } = options;
      const { contextLength } = model;
      const memory = this.#engine.memoryInfo();
      const numBlocks = kvBlocks(options, contextLength, memory);
      const prefillTokens =
        options.chunkedPrefillSize > 0 ? options.chunkedPrefillSize : Math.max(options.maxPrefillTokens, contextLength);
      const maxBatchTokens = Math.min(prefillTokens, numBlocks * blockSize) + maxRunningRequests;
      this.#engine.initCache({
        numBlocks,
        blockSize,
        maxRequests: maxRunningRequests,
        maxBatchTokens,
        maxContextLength: contextLength,
      });
      const { weightBytes, kvCacheBytes } = this.#engine.memoryInfo();
      this.limits = {
        numBlocks,
        blockSize,
        maxRequests: maxRunningRequests,
        maxBatchTokens,
        contextLength,
        vocabSize: model.spec.vocabSize,
        weightBytes,
        kvCacheBytes,
        loadSeconds: monotonicSeconds() - started,
      };
    } catch (thrown) {
      this.#engine.close();
      throw thrown;
    }
    log.info(
      { tokens: this.limits.numBlocks * this.limits.blockSize, ...this.limits },
      `Model loaded in ${this.limits.loadSeconds.toFixed(2)} s; KV cache for ${numBlocksText(this.limits)}`,
    );
  }

  /** Loads the weights and allocates the KV cache; blocks until done. */
  static create(deps: RunnerDeps): ModelRunner {
    return new ModelRunner(deps);
  }

  /** Queues a step; its result comes to the `onStep` listener, in order. */
  submit(batch: ForwardBatch): void {
    this.#engine.submit(encodeForwardBatch(batch));
  }

  /** One listener at a time. After an error the engine is dead and every later step reports it too. */
  onStep(listener: StepListener): void {
    this.#listener = listener;
  }

  /** Submits a step and waits for it: for benches and tests that run one step at a time, without a scheduler. */
  forward(batch: ForwardBatch): Promise<StepOutput> {
    return new Promise((resolve, reject) => {
      this.onStep((error, output) => (error !== null ? reject(error) : resolve(output!)));
      this.submit(batch);
    });
  }

  memoryInfo(): MemoryInfo {
    return this.#engine.memoryInfo();
  }

  close(): void {
    this.#engine.close();
  }

  #onStep(error: Error | null, output: ArrayBuffer | null): void {
    if (error !== null) {
      this.#listener(new VitrineError('ENGINE_FAILED', `The engine failed: ${error.message}`, { cause: error }), null);
    } else {
      this.#listener(null, new StepOutput(output!));
    }
  }
}

export interface RunnerDeps {
  readonly addon: NativeAddon;
  readonly model: PreparedModel;
  readonly options: SchedulerOptions;
  readonly log: Log;
}

const MIB = 1 << 20;

/** How many KV blocks to allocate: what was asked for, else a share of the free memory that can be of use. */
function kvBlocks(options: SchedulerOptions, contextLength: number, memory: MemoryInfo): number {
  const { pageSize, maxTotalTokens, memFractionStatic, maxRunningRequests } = options;
  const bytesPerBlock = memory.kvBytesPerToken * pageSize;
  if (maxTotalTokens !== undefined) {
    const blocks = Math.max(1, Math.floor(maxTotalTokens / pageSize));
    if (blocks * bytesPerBlock > memory.availableBytes) {
      throw new VitrineError(
        'OUT_OF_MEMORY',
        `--max-total-tokens ${maxTotalTokens} needs ${Math.ceil((blocks * bytesPerBlock) / MIB)} MiB of KV cache, ` +
          `${Math.floor(memory.availableBytes / MIB)} MiB are free.`,
        { param: '--max-total-tokens' },
      );
    }
    return blocks;
  }
  const useful = maxRunningRequests * Math.ceil(contextLength / pageSize);
  const affordable = Math.floor((memory.availableBytes * memFractionStatic) / bytesPerBlock);
  const blocks = Math.min(useful, affordable);
  if (blocks < 1) {
    throw new VitrineError(
      'OUT_OF_MEMORY',
      `No room for the KV cache: one block of ${pageSize} tokens takes ${Math.ceil(bytesPerBlock / MIB)} MiB, and ` +
        `--mem-fraction-static ${memFractionStatic} of ${Math.floor(memory.availableBytes / MIB)} MiB free is less. ` +
        'Raise --mem-fraction-static or lower --page-size.',
      { param: '--mem-fraction-static' },
    );
  }
  return blocks;
}

function numBlocksText(limits: RunnerLimits): string {
  return `${limits.numBlocks * limits.blockSize} tokens (${(limits.kvCacheBytes / MIB).toFixed(1)} MiB)`;
}

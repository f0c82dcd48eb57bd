// Decides what the next step computes: decode rows of running requests and prefill chunks, in one step or in turns.
import type { DeviceOptions } from '../engine/device-options.js';
import { ForwardBatchWriter } from '../engine/forward-batch-writer.js';
import type { ScheduleBatch } from '../engine/schedule-batch.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import type { Log } from '../util/log.js';
import { DecodeAdder } from './decode-adder.js';
import type { LoadStats } from './load-stats.js';
import { NewTokenRatio } from './new-token-ratio.js';
import { PrefillAdder } from './prefill-adder.js';
import { PrefillBudget } from './prefill-budget.js';
import type { RequestQueues } from './request-queues.js';
import { FcfsPolicy, LpmPolicy } from './schedule-policy.js';
import { StepBuilder } from './step-builder.js';

export interface BatchBuilderDeps {
  readonly options: DeviceOptions;
  readonly queues: RequestQueues;
  readonly blocks: BlockManager;
  readonly stats: LoadStats;
  readonly log: Log;
}

export class BatchBuilder {
  /** Holds the rows of the batch that `next` returned, for the engine. */
  readonly writer: ForwardBatchWriter;
  readonly #mixed: boolean;
  readonly #blocks: BlockManager;
  readonly #ratio = new NewTokenRatio();
  readonly #budget: PrefillBudget;
  readonly #step: StepBuilder;
  readonly #decodes: DecodeAdder;
  readonly #prefills: PrefillAdder;
  #lastStepId = 0;

  constructor(deps: BatchBuilderDeps) {
    const { options, blocks } = deps;
    this.#mixed = options.enableMixedChunk;
    this.#blocks = blocks;
    this.writer = new ForwardBatchWriter(blocks.blockSize);
    this.#step = new StepBuilder(this.writer, blocks);
    this.#budget = new PrefillBudget(options.mixedStepStretch, options.chunkedPrefillSize);
    const parts = { ...deps, step: this.#step, ratio: this.#ratio, budget: this.#budget };
    this.#decodes = new DecodeAdder(parts);
    const policy = options.schedulePolicy === 'lpm' ? new LpmPolicy(blocks) : new FcfsPolicy();
    this.#prefills = new PrefillAdder({ ...parts, policy });
  }

  /** The number of the step that next() would return. */
  get nextStepId(): number {
    return this.#lastStepId + 1;
  }

  /** The next step, or null when nothing can be computed now. Its requests have advanced already. */
  next(): ScheduleBatch | null {
    this.#blocks.settle();
    if (this.#mixed) {
      this.#decodes.addAll();
      this.#prefills.addAll();
    } else {
      this.#prefills.addAll();
      if (this.#step.isEmpty) this.#decodes.addAll();
    }
    if (this.#step.isEmpty) return null;
    this.#lastStepId += 1;
    return this.#step.take(this.#lastStepId);
  }

  /** A step has ended after so many seconds of computing. */
  stepDone(batch: ScheduleBatch, seconds: number): void {
    this.#budget.stepDone(batch, seconds);
  }

  /** A batch whose step is done: it is used again. */
  recycle(batch: ScheduleBatch): void {
    this.#step.recycle(batch);
  }

  /** Nothing waits or runs: what was learned about the load is forgotten. */
  idle(): void {
    this.#ratio.idle();
  }
}

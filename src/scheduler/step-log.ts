// The scheduler's log lines, in the words of SGLang's.
import type { ScheduleBatch } from '../engine/schedule-batch.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import type { Log } from '../util/log.js';
import type { LoadStats } from './load-stats.js';
import type { RequestQueues } from './request-queues.js';

export interface StepLogDeps {
  readonly log: Log;
  readonly queues: RequestQueues;
  readonly blocks: BlockManager;
  readonly stats: LoadStats;
}

export class StepLog {
  constructor(private readonly deps: StepLogDeps) {}

  submitted(batch: ScheduleBatch): void {
    const { log, queues } = this.deps;
    if (batch.prefillTokens === 0 || !log.isLevelEnabled('debug')) return;
    log.debug(
      `Prefill batch, #new-seq: ${batch.newRequests}, #new-token: ${batch.prefillTokens}, ` +
        `#cached-token: ${batch.cachedTokens}, ${this.#usage()}, #running-req: ${queues.running.length}, ` +
        `#queue-req: ${queues.waiting.length}`,
    );
  }

  /** Every --decode-log-interval decode steps. */
  decodeInterval(): void {
    const { log, queues, blocks, stats } = this.deps;
    log.info(
      `Decode batch, #running-req: ${queues.running.length}, #token: ${blocks.usedBlocks * blocks.blockSize}, ` +
        `${this.#usage()}, gen throughput (token/s): ${stats.genThroughput.toFixed(2)}, ` +
        `#queue-req: ${queues.waiting.length}`,
    );
  }

  #usage(): string {
    const { blocks } = this.deps;
    return `token usage: ${(blocks.usedBlocks / blocks.totalBlocks).toFixed(2)}`;
  }
}

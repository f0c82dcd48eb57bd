// Adds the next token of every decoding request to a step, and takes blocks from the newest requests when there are none.
import type { Request } from '../engine/request.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import type { Log } from '../util/log.js';
import type { LoadStats } from './load-stats.js';
import type { NewTokenRatio } from './new-token-ratio.js';
import type { RequestQueues } from './request-queues.js';
import type { StepBuilder } from './step-builder.js';

export interface DecodeAdderDeps {
  readonly queues: RequestQueues;
  readonly blocks: BlockManager;
  readonly step: StepBuilder;
  readonly ratio: NewTokenRatio;
  readonly stats: LoadStats;
  readonly log: Log;
}

export class DecodeAdder {
  constructor(private readonly deps: DecodeAdderDeps) {}

  /** Oldest requests first, so that whoever loses its blocks to another is not in the step yet. */
  addAll(): void {
    const { queues, step, ratio } = this.deps;
    const { running } = queues;
    for (let i = 0; i < running.length; i++) {
      const request = running[i]!;
      if (request.isDecoding && !request.isComplete && this.#makeRoom(request)) step.addDecode(request);
    }
    if (step.batch.decodeRows > 0) ratio.decodeStep();
  }

  /** A block for the request's next token. False: not in this step. */
  #makeRoom(request: Request): boolean {
    const { blocks, queues } = this.deps;
    const wanted = blocks.blocksFor(request.computedLen + 1);
    while (!blocks.grow(request.table, wanted)) {
      // A request whose last step is in flight gives its blocks back presently: waiting for it loses no work.
      if (queues.running.some((other) => other.isComplete)) return false;
      const newest = queues.running.at(-1)!;
      this.#retract(newest);
      if (newest === request) return false;
    }
    return true;
  }

  /** Sends a running request back to the queue. Its blocks stay in the prefix cache until they are needed. */
  #retract(request: Request): void {
    const { blocks, queues, ratio, stats, log } = this.deps;
    const { knownComputedLen, tokens } = request;
    blocks.share(request.table, tokens.view(0, knownComputedLen), knownComputedLen);
    blocks.close(request.table);
    queues.retract(request);
    ratio.retracted(queues.running);
    stats.retractions += 1;
    log.warn(
      `KV cache is full: retracted a request with ${tokens.length} tokens, #running-req: ${queues.running.length}, ` +
        `#queue-req: ${queues.waiting.length}`,
    );
  }
}

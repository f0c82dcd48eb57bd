// The step under construction: its rows as the engine takes them (writer) and as the scheduler remembers them (batch).
import type { ForwardBatchWriter } from '../engine/forward-batch-writer.js';
import type { Request } from '../engine/request.js';
import { RequestRow } from '../engine/request-row.js';
import { ScheduleBatch } from '../engine/schedule-batch.js';
import type { BlockManager } from '../kv-cache/block-manager.js';

export class StepBuilder {
  readonly #row = new RequestRow();
  #batch = new ScheduleBatch();
  readonly #spare: ScheduleBatch[] = [];

  constructor(
    private readonly writer: ForwardBatchWriter,
    private readonly blocks: BlockManager,
  ) {}

  get isEmpty(): boolean {
    return this.#batch.size === 0;
  }

  get batch(): ScheduleBatch {
    return this.#batch;
  }

  /** One generated token of a running request. */
  addDecode(request: Request): void {
    this.#add(request, request.computedLen + 1);
    this.#batch.decodeRows += 1;
  }

  /** The next `count` tokens of a request's prompt (or, after a retraction, of what it had). */
  addPrefill(request: Request, count: number): void {
    const to = request.computedLen + count;
    this.#add(request, to);
    this.#batch.prefillTokens += count;
    // Other requests, also of this very step, need not compute them again.
    this.blocks.share(request.table, request.tokens.view(0, to), to);
  }

  /** Hands over the finished batch and starts the next one. */
  take(stepId: number): ScheduleBatch {
    const batch = this.#batch;
    batch.stepId = stepId;
    this.#batch = this.#spare.pop() ?? new ScheduleBatch();
    return batch;
  }

  /** A batch whose step is done: it is used again. */
  recycle(batch: ScheduleBatch): void {
    batch.clear();
    this.#spare.push(batch);
  }

  #add(request: Request, to: number): void {
    const row = this.#row;
    row.fill(request, to);
    this.writer.add(row);
    this.#batch.add(request, to, row);
    request.advance(to, row.sample);
  }
}

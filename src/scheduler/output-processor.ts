// Turns a step's output into tokens of requests: appends, finishes, keeps prefixes, gives blocks back, makes chunks.
import type { Request } from '../engine/request.js';
import type { ScheduleBatch } from '../engine/schedule-batch.js';
import type { StepOutput } from '../engine/step-output.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import { monotonicSeconds } from '../util/clock.js';
import type { RequestQueues } from './request-queues.js';

type DraftChunk = { -readonly [K in keyof TokenChunk]: TokenChunk[K] };

export class OutputProcessor {
  constructor(
    private readonly queues: RequestQueues,
    private readonly blocks: BlockManager,
  ) {}

  /** Adds the chunks of a finished step to `chunks`; returns how many tokens it generated. */
  process(batch: ScheduleBatch, output: StepOutput, chunks: TokenChunk[]): number {
    const { sampledIds } = output;
    let row = 0;
    let generated = 0;
    for (let i = 0; i < batch.size; i++) {
      const request = batch.requests[i]!;
      const firstRow = row;
      const sampled = batch.sampled[i]!;
      row += batch.scoredCount[i]! + (sampled ? 1 : 0);
      if (request.epoch !== batch.epochs[i]) continue; // finished, aborted or retracted meanwhile
      this.#score(request, batch.scoredFirst[i]!, batch.scoredCount[i]!, output, firstRow);
      if (sampled) {
        generated += 1;
        this.#append(request, sampledIds[i]!, output, row - 1);
      } else if (request.maxLen === request.promptLen && batch.ends[i]! >= request.promptLen) {
        request.finish = { type: 'length', length: 0 };
      }
      if (request.finish !== null) chunks.push(this.#end(request));
      else if (sampled) chunks.push(this.#chunk(request));
    }
    return generated;
  }

  /** Ends a request that no step will finish: its only final chunk. */
  abort(request: Request, finish: FinishReason): TokenChunk {
    request.finish = finish;
    return this.#end(request);
  }

  #append(request: Request, token: number, output: StepOutput, row: number): void {
    if (request.firstTokenAt === 0) request.firstTokenAt = monotonicSeconds();
    request.append(token);
    if (request.logprobs === null) return;
    const top = request.logprobs.topCount > 0 ? output.top(row) : null;
    request.outputLogprobs.push(token, output.rowLogprobs[row]!, top, this.#watched(request, output, row));
  }

  /** Log-probabilities of the prompt positions [first, first + count), in logit rows from `row` on. */
  #score(request: Request, first: number, count: number, output: StepOutput, row: number): void {
    for (let k = 0; k < count; k++) {
      const top = request.logprobs!.topCount > 0 ? output.top(row + k) : null;
      const watched = this.#watched(request, output, row + k);
      request.inputLogprobs.push(request.tokens.at(first + k), output.rowLogprobs[row + k]!, top, watched);
      request.scoredLen = first + k + 1;
    }
  }

  #watched(request: Request, output: StepOutput, row: number): (readonly [number, number])[] | null {
    const ids = request.logprobs!.tokenIds;
    if (ids.length === 0) return null;
    const values = output.watched(row);
    return ids.map((id, i) => [id, values[i]!] as const);
  }

  /**
   * The request is over. Blocks and slot may be handed on although a later step of it may be in flight: steps run in
   * order, so that one is through with them before a step that is not yet built can touch them.
   */
  #end(request: Request): TokenChunk {
    const chunk = this.#chunk(request);
    const { table, tokens, knownComputedLen } = request;
    this.blocks.share(table, tokens.view(0, knownComputedLen), knownComputedLen);
    this.blocks.close(table);
    this.queues.remove(request);
    return chunk;
  }

  #chunk(request: Request): TokenChunk {
    const { promptLen, sentOutputs, tokens, finish } = request;
    const chunk: DraftChunk = {
      rid: request.rid,
      tokenIds:
        tokens.length - promptLen - sentOutputs === 1
          ? [tokens.at(tokens.length - 1)]
          : Array.from(tokens.view(promptLen + sentOutputs)),
      finish,
      cachedTokens: request.reportedCached,
      retractions: request.retractions,
    };
    request.sentOutputs = tokens.length - promptLen;
    if (request.logprobs !== null) this.#addLogprobs(chunk, request);
    if (sentOutputs === 0 || finish !== null) {
      const { queuedAt: queued, scheduledAt: scheduled, firstTokenAt: firstToken } = request;
      chunk.times = { queued, scheduled, firstToken };
    }
    return chunk;
  }

  #addLogprobs(chunk: DraftChunk, request: Request): void {
    chunk.outputLogprobs = request.outputLogprobs.take();
    if (request.inputLogprobsSent || request.logprobs!.startLen < 0) return;
    request.inputLogprobsSent = true;
    chunk.inputLogprobs = request.inputLogprobs.take();
  }
}

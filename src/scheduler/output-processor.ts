// Turns a step's output into tokens of requests: appends, finishes, shares prefixes, gives blocks back, makes chunks.
import type { Request } from '../engine/request.js';
import type { StepOutput } from '../engine/step-output.js';
import type { BlockManager } from '../kv-cache/block-manager.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import { monotonicSeconds } from '../util/clock.js';
import type { StepPart } from './batch-builder.js';
import type { RequestQueues } from './request-queues.js';

export class OutputProcessor {
  constructor(
    private readonly queues: RequestQueues,
    private readonly blocks: BlockManager,
  ) {}

  /** Chunks of one finished step, and how many tokens it generated. */
  process(parts: readonly StepPart[], output: StepOutput): { chunks: TokenChunk[]; generated: number } {
    const chunks: TokenChunk[] = [];
    const { sampledIds, rowLogprobs } = output;
    let row = 0;
    let generated = 0;
    for (let i = 0; i < parts.length; i++) {
      const { request, epoch, to, sampled, scored } = parts[i]!;
      const firstRow = row;
      row += scored.length + (sampled ? 1 : 0);
      if (request.epoch !== epoch) continue; // finished, aborted or retracted meanwhile
      for (let k = 0; k < scored.length; k++) {
        this.#score(request, scored[k]!, rowLogprobs[firstRow + k]!, output, firstRow + k);
      }
      const prefilling = request.outputLen === 0;
      if (sampled) {
        const token = sampledIds[i]!;
        if (request.outputLen === 0) request.firstTokenAt = monotonicSeconds();
        request.append(token);
        generated += 1;
        if (request.logprobs !== null) {
          request.outputLogprobs.push(
            token,
            rowLogprobs[row - 1]!,
            request.logprobs.topCount > 0 ? output.top(row - 1) : null,
            this.#watched(request, output, row - 1),
          );
        }
      } else if (request.sampling.maxNewTokens === 0 && to >= request.promptLen) {
        request.finish = { type: 'length', length: 0 };
      }
      if (request.finish !== null) {
        this.blocks.share(request.table, request.tokens, to);
        chunks.push(this.#end(request));
      } else {
        if (prefilling) this.blocks.share(request.table, request.tokens, to);
        if (sampled) chunks.push(this.#chunk(request));
      }
    }
    return { chunks, generated };
  }

  /** Ends a request that no step will finish: its only final chunk. */
  abort(request: Request, finish: FinishReason): TokenChunk {
    request.finish = finish;
    return this.#end(request);
  }

  #end(request: Request): TokenChunk {
    const chunk = this.#chunk(request);
    this.blocks.close(request.table);
    this.queues.remove(request);
    return chunk;
  }

  #chunk(request: Request): TokenChunk {
    const from = request.promptLen + request.sentOutputs;
    const tokenIds = request.tokens.slice(from);
    const first = request.sentOutputs === 0;
    request.sentOutputs += tokenIds.length;
    const chunk: { -readonly [K in keyof TokenChunk]: TokenChunk[K] } = {
      rid: request.rid,
      tokenIds,
      finish: request.finish,
      cachedTokens: request.reportedCached,
      retractions: request.retractions,
    };
    if (request.logprobs !== null) {
      chunk.outputLogprobs = request.outputLogprobs.take();
      if (!request.inputLogprobsSent && request.logprobs.startLen >= 0) {
        request.inputLogprobsSent = true;
        chunk.inputLogprobs = request.inputLogprobs.take();
      }
    }
    if (first || request.finish !== null) {
      chunk.times = {
        queued: request.queuedAt,
        scheduled: request.scheduledAt,
        firstToken: request.firstTokenAt,
      };
    }
    return chunk;
  }

  #score(request: Request, position: number, value: number, output: StepOutput, row: number): void {
    const { topCount } = request.logprobs!;
    request.inputLogprobs.push(
      request.tokens[position]!,
      value,
      topCount > 0 ? output.top(row) : null,
      this.#watched(request, output, row),
    );
    request.scoredLen = position + 1;
  }

  #watched(request: Request, output: StepOutput, row: number): [number, number][] | null {
    const ids = request.logprobs!.tokenIds;
    if (ids.length === 0) return null;
    const values = output.watched(row);
    return ids.map((id, i) => [id, values[i]!]);
  }
}

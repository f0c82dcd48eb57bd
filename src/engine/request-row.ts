// A request's share of one step, as the writer takes it. One object is filled again for every row: no garbage.
import type { ForwardRequest, LogitBias, RowSampling } from './forward-batch.js';
import { GREEDY, NO_BIAS } from './forward-batch.js';
import { REQUEST_FLAG } from './forward-batch-layout.js';
import type { Request } from './request.js';

const NOTHING: Int32Array = new Int32Array(0);

export class RequestRow implements ForwardRequest {
  slot = 0;
  tokenIds: ArrayLike<number> = NOTHING;
  firstPosition = 0;
  blocks: Int32Array = NOTHING;
  flags = 0;
  sample = false;
  scored: ArrayLike<number> = NOTHING;
  scoredFrom = 0;
  sampling: RowSampling = GREEDY;
  bias: LogitBias = NO_BIAS;
  history: ArrayLike<number> = NOTHING;
  readonly #one = new Int32Array(1);

  /** The tokens [computedLen, to) of the request. */
  fill(request: Request, to: number): void {
    const from = request.computedLen;
    const { tokens, logprobs, slot, hasPenalties, freshSlot } = request;
    this.slot = slot;
    this.firstPosition = from;
    this.blocks = request.table.blocks;
    this.sampling = request.rowSampling;
    this.sample = to === request.seqLen && request.seqLen < request.maxLen;
    this.bias = this.sample ? request.bias : NO_BIAS;
    if (to - from === 1) {
      this.#one[0] = from < tokens.length ? tokens.at(from) : -(slot + 1); // the host does not know it yet
      this.tokenIds = this.#one;
    } else {
      this.tokenIds = tokens.view(from, to);
    }
    let flags = 0;
    if (freshSlot) flags |= REQUEST_FLAG.resetSlot;
    if (logprobs !== null) flags |= REQUEST_FLAG.returnLogprob;
    if (hasPenalties) flags |= REQUEST_FLAG.trackHistory;
    this.flags = flags;
    this.history = freshSlot && hasPenalties ? tokens.view(request.promptLen) : NOTHING;
    this.scored = NOTHING;
    if (logprobs !== null && logprobs.startLen >= 0 && from < request.promptLen) this.#score(request, to);
  }

  /** The row of token t - 1 gives the log-probability of token t, also across the border of a chunk. */
  #score(request: Request, to: number): void {
    const from = request.computedLen;
    const first = Math.max(request.scoredLen, request.logprobs!.startLen, from + 1);
    const end = Math.min(to + 1, request.promptLen);
    if (first >= end) return;
    this.scored = request.tokens.view(first, end);
    this.scoredFrom = first - 1 - from;
  }
}

// Which requests are in one step, and with which tokens: kept while the step is in flight, to make sense of its output.
import type { ForwardMode } from './forward-batch-layout.js';
import type { Request } from './request.js';
import type { RequestRow } from './request-row.js';

export class ScheduleBatch {
  stepId = 0;
  /** Rows of running requests that compute one generated token. */
  decodeRows = 0;
  /** Requests that were started with this step. */
  newRequests = 0;
  /** Tokens of prompts computed, and served from the prefix cache. */
  prefillTokens = 0;
  cachedTokens = 0;

  /** Per row of the batch. Parallel arrays: no object per row and step. */
  readonly requests: Request[] = [];
  /** The request's epoch at submission; when it has changed, the row's result is void. */
  readonly epochs: number[] = [];
  /** Tokens that the row computes, and computed tokens of the sequence after this step. */
  readonly counts: number[] = [];
  readonly ends: number[] = [];
  readonly sampled: boolean[] = [];
  /** Prompt positions [scoredFirst, scoredFirst + scoredCount) get their log-probabilities. */
  readonly scoredFirst: number[] = [];
  readonly scoredCount: number[] = [];

  /** Tokens that the step computes. */
  get tokens(): number {
    return this.prefillTokens + this.decodeRows;
  }

  /** Rows of logits that it needs. */
  get logitRows(): number {
    let rows = 0;
    for (let i = 0; i < this.sampled.length; i++) rows += this.scoredCount[i]! + (this.sampled[i] ? 1 : 0);
    return rows;
  }

  get size(): number {
    return this.requests.length;
  }

  get mode(): ForwardMode {
    if (this.prefillTokens === 0) return 'decode';
    return this.decodeRows === 0 ? 'extend' : 'mixed';
  }

  /** Notes the row that computes the request's tokens up to `to`, before the request advances. */
  add(request: Request, to: number, row: RequestRow): void {
    this.requests.push(request);
    this.epochs.push(request.epoch);
    this.counts.push(to - row.firstPosition);
    this.ends.push(to);
    this.sampled.push(row.sample);
    this.scoredFirst.push(row.firstPosition + row.scoredFrom + 1);
    this.scoredCount.push(row.scored.length);
  }

  /** Ready for another step. */
  clear(): void {
    this.decodeRows = 0;
    this.newRequests = 0;
    this.prefillTokens = 0;
    this.cachedTokens = 0;
    this.requests.length = 0;
    this.epochs.length = 0;
    this.counts.length = 0;
    this.ends.length = 0;
    this.sampled.length = 0;
    this.scoredFirst.length = 0;
    this.scoredCount.length = 0;
  }
}

// Where the front end reports what happens to requests: metrics and request logs listen here.
import type { RequestState } from './request-state.js';

export interface RequestObserver {
  /** Accepted and sent to the scheduler. */
  started(state: RequestState): void;
  /** `count` new tokens came; `seconds` since the last ones (since arrival for the first). */
  tokens(state: RequestState, count: number, seconds: number): void;
  /** Its final message came. */
  finished(state: RequestState): void;
}

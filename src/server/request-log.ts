// --log-requests: one line when a request starts, one when it ends.
import type { RequestObserver } from '../frontend/request-observer.js';
import type { RequestState } from '../frontend/request-state.js';
import type { Log } from '../util/log.js';

export class RequestLog implements RequestObserver {
  constructor(private readonly log: Log) {}

  started({ request }: RequestState): void {
    const { rid, inputIds, sampling, maxNewTokens, seed } = request;
    this.log.info(
      { rid, promptTokens: inputIds.length, sampling: { ...sampling.params, maxNewTokens, seed, stop: sampling.stop } },
      `Receive: ${rid}`,
    );
  }

  tokens(): void {}

  finished({
    rid,
    finish,
    promptTokens,
    completionTokens,
    cachedTokens,
    text,
    request,
    finishedAt,
  }: RequestState): void {
    const seconds = finishedAt - request.receivedAt;
    this.log.info(
      { rid, finish, promptTokens, completionTokens, cachedTokens, seconds, text },
      `Finish: ${rid} (${finish?.type})`,
    );
  }
}

/** Several observers as one. */
export class ObserverList implements RequestObserver {
  constructor(private readonly observers: readonly RequestObserver[]) {}

  started(state: RequestState): void {
    for (const observer of this.observers) observer.started(state);
  }

  tokens(state: RequestState, count: number, seconds: number): void {
    for (const observer of this.observers) observer.tokens(state, count, seconds);
  }

  finished(state: RequestState): void {
    for (const observer of this.observers) observer.finished(state);
  }
}

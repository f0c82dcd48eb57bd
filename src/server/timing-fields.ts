// The timing keys that --enable-metrics adds to the last meta_info, named as in SGLang.
import type { RequestState } from '../frontend/request-state.js';
import { monotonicSeconds, unixSeconds } from '../util/clock.js';
import { jsonNumber } from './json-text.js';

/** `,"key":value` pairs; `…_ts` and `…_time` points are Unix seconds, the rest durations in seconds. */
export function timingFields(state: RequestState): string {
  const toUnix = unixSeconds() - monotonicSeconds();
  const fields: Record<string, number> = {
    request_received_ts: state.request.receivedAt + toUnix,
    request_finished_ts: state.finishedAt + toUnix,
  };
  const { times } = state;
  if (times !== null) {
    fields.api_server_dispatch_finish_ts = times.queued + toUnix;
    if (times.scheduled > 0) {
      fields.queue_time = times.scheduled - times.queued;
      fields.forward_entry_time = times.scheduled + toUnix;
      fields.inference_time = state.finishedAt - times.scheduled;
    }
    if (times.firstToken > 0) fields.prefill_finished_time = times.firstToken + toUnix;
  }
  const decodeSeconds = state.lastTokenAt - state.firstTokenAt;
  if (state.completionTokens > 1 && decodeSeconds > 0) {
    fields.decode_throughput = (state.completionTokens - 1) / decodeSeconds;
  }
  return Object.entries(fields)
    .map(([key, value]) => `,"${key}":${jsonNumber(value)}`)
    .join('');
}

// Waits until a server answers, which may still load its model.
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicSeconds } from '../../util/clock.js';
import { toError, VitrineError } from '../../util/errors.js';
import type { Output } from '../terminal/output.js';
import type { HttpClient, TextResponse } from './http-client.js';

const POLL_MS = 500;
const ANSWER_MS = 10_000;

/**
 * The answer of GET /v1/models, whatever its status but 502 and 503. `timeoutSeconds`: the value of --ready-timeout-sec.
 * @throws VitrineError NOT_READY (nobody answered in time), ABORTED (`signal`)
 */
export async function waitUntilReady(
  client: HttpClient,
  timeoutSeconds: number,
  output: Output,
  signal: AbortSignal,
): Promise<TextResponse> {
  const deadline = monotonicSeconds() + timeoutSeconds;
  for (let attempt = 0; ; attempt++) {
    const outcome = await client.fetchText('GET', '/v1/models', { timeoutMs: ANSWER_MS, signal }).catch(toError);
    if (signal.aborted) throw new VitrineError('ABORTED', `Interrupted while waiting for ${client.baseUrl}`);
    const reason = outcome instanceof Error ? outcome.message : notReadyReason(outcome);
    if (reason === undefined) return outcome as TextResponse;
    if (monotonicSeconds() >= deadline) {
      const waited = `waited ${timeoutSeconds} s (--ready-timeout-sec)`;
      throw new VitrineError('NOT_READY', `No server at ${client.baseUrl}: ${reason}; ${waited}`);
    }
    if (attempt === 0) output.warn(`Waiting for the server at ${client.baseUrl} (${reason}) ...`);
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
}

function notReadyReason({ status }: TextResponse): string | undefined {
  return status === 502 || status === 503 ? `HTTP ${status}` : undefined;
}

// Which final messages are failures of a request, and as which error they are reported.
import type { FinishReason } from '../messages/outputs.js';
import { type ErrorCode, VitrineError } from '../util/errors.js';

/** How the front end ends a request that a user or a lost connection aborts. Not a failure. */
export function userAbort(message: string): FinishReason {
  return { type: 'abort', message, statusCode: 499, errType: 'AbortError' };
}

/** How requests end that were still running at the end of the shutdown time. */
export const SHUTDOWN_ABORT: FinishReason = {
  type: 'abort',
  message: 'The server is shutting down.',
  statusCode: 503,
  errType: 'SHUTTING_DOWN',
};

/** null for results and for aborts that somebody asked for. */
export function errorOfFinish(finish: FinishReason): VitrineError | null {
  if (finish.type !== 'abort' || finish.statusCode === 499) return null;
  return new VitrineError(codeOf(finish.statusCode, finish.errType), finish.message);
}

function codeOf(status: number, type: string): ErrorCode {
  if (status === 400) return 'INVALID_REQUEST';
  if (status === 503) return type === 'SHUTTING_DOWN' ? type : 'QUEUE_FULL';
  return 'ENGINE_FAILED';
}

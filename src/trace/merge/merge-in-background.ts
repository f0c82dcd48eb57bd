// mergeTraces() in a thread of low priority, for processes that serve.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, VitrineError } from '../../util/errors.js';
import type { MergeTracesOptions } from './inspect-traces.js';
import type { MergeResult } from './trace-merger.js';

export interface MergeReply {
  readonly results?: readonly MergeResult[];
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly param: string | undefined };
}

/** As mergeTraces(), with the same errors. */
export async function mergeTracesInBackground(
  options: Omit<MergeTracesOptions, 'signal'>,
): Promise<readonly MergeResult[]> {
  const worker = new Worker(new URL('./merge-thread.js', import.meta.url), {
    name: 'trace-merger',
    execArgv: [],
    workerData: options,
  });
  try {
    const [reply] = (await once(worker, 'message')) as [MergeReply];
    if (reply.results !== undefined) return reply.results;
    const { code, message, param } = reply.error!;
    throw new VitrineError(code, message, param === undefined ? {} : { param });
  } finally {
    await worker.terminate();
  }
}

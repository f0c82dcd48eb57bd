// A thread of low priority that merges trace files and ends.
import { parentPort, workerData } from 'node:worker_threads';
import { invariant, toError, VitrineError } from '../../util/errors.js';
import { lowerThreadPriority } from '../write/low-priority.js';
import type { MergeTracesOptions } from './inspect-traces.js';
import type { MergeReply } from './merge-in-background.js';
import { mergeTraces } from './trace-merger.js';

invariant(parentPort, 'the merger runs in a worker thread');
lowerThreadPriority();
const reply = await mergeTraces(workerData as MergeTracesOptions).then(
  (results): MergeReply => ({ results }),
  (thrown): MergeReply => {
    const error = toError(thrown);
    const { code, param } = error instanceof VitrineError ? error : { code: 'INTERNAL' as const, param: undefined };
    return { error: { code, message: error.message, param } };
  },
);
parentPort.postMessage(reply);

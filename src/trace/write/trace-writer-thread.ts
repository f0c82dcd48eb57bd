// The trace writer's own thread: encodes and compresses what arrives, one file after the other, at low priority.
import { parentPort } from 'node:worker_threads';
import { invariant, toError, VitrineError } from '../../util/errors.js';
import { CHUNK_HEADER_BYTES } from '../record/span-layout.js';
import { STAGE_BYTES } from './chunk-stage.js';
import { lowerThreadPriority } from './low-priority.js';
import { TraceDocument } from './trace-document.js';
import type { FromTraceWriter, ToTraceWriter } from './trace-writer-messages.js';

invariant(parentPort, 'the trace writer runs in a worker thread');
const port = parentPort;
const FIRST_SPARES = 8;
const say = (message: FromTraceWriter) => port.postMessage(message);
const giveWay = lowerThreadPriority();
let document: TraceDocument | undefined;
/** Written once here, so that the thread that records need not wait for its memory to be found. */
let spares = Array.from({ length: FIRST_SPARES }, () => {
  const buffer = new SharedArrayBuffer(STAGE_BYTES);
  new Uint8Array(buffer).fill(1);
  return buffer;
});

function handle(message: ToTraceWriter): void {
  if (message.kind === 'open') {
    document = new TraceDocument(message.options, giveWay);
    say({ kind: 'opened', spares });
    spares = [];
    return;
  }
  if (document === undefined) return;
  switch (message.kind) {
    case 'source':
      document.addSource(message.process, message.tables);
      break;
    case 'chunk': {
      const { source, chunk } = message;
      document.addChunk(source, chunk);
      const { buffer, byteLength } = chunk.records;
      const { fileBytes } = document;
      const recordBytes = Math.max(0, byteLength - CHUNK_HEADER_BYTES);
      say({
        kind: 'taken',
        recordBytes,
        fileBytes,
        spare: buffer instanceof SharedArrayBuffer ? buffer : null,
      });
      break;
    }
    case 'cpu-profile':
      document.addCpuProfile(message.pid, message.thread, message.profile);
      break;
    case 'dropped':
      document.drop(message.reason, message.count);
      break;
    case 'finish':
      say({ kind: 'finished', info: document.finish(message.warnings) });
      document = undefined;
      break;
    case 'discard':
      document.discard();
      document = undefined;
      say({ kind: 'discarded' });
  }
}

port.on('message', (message: ToTraceWriter) => {
  try {
    handle(message);
  } catch (thrown) {
    const error = toError(thrown);
    document?.discard();
    document = undefined;
    const { code, param } = error instanceof VitrineError ? error : { code: 'INTERNAL' as const, param: undefined };
    // What is still on its way for this file comes before the next one is opened, and is left alone.
    say({ kind: 'failed', code, message: error.message, param });
  }
});

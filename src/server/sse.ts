// One stream of server-sent events. What one step of the engine brings is written at once; a client that does not read
// fast enough gets later events with more in them, so its memory here stays bounded.
import type { ServerResponse } from 'node:http';
import type { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import type { JsonParts } from './json-text.js';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
};
/** Hexadecimal digits of a chunk's size, and the line's end. */
const CHUNK_HEAD_BYTES = 8 + 2;

export class SseStream {
  readonly #raw: ServerResponse;
  readonly #tracer: FrontEndTracer;
  #pending: (string | Uint8Array)[] = [];
  #flushQueued = false;
  #begun = false;
  #ended = false;

  /** Sends the headers with the first event. */
  constructor(raw: ServerResponse, tracer: FrontEndTracer) {
    this.#raw = raw;
    this.#tracer = tracer;
    raw.writeHead(200, HEADERS);
  }

  /** The client has not taken what was sent: keep the next event until `onDrain`. */
  get congested(): boolean {
    return this.#raw.writableNeedDrain || (this.#raw.socket?.writableNeedDrain ?? false);
  }

  onDrain(listener: () => void): void {
    const { socket } = this.#raw.req; // of the response there is none yet while an earlier one has the connection
    this.#raw.on('drain', listener);
    socket.on('drain', listener);
    this.#raw.once('close', () => socket.off('drain', listener)); // the connection may live on
  }

  /** `data` is one line. Nothing is written before this turn of the event loop is over. */
  send(data: JsonParts): void {
    this.#pending.push('data: ');
    if (typeof data === 'string') this.#pending.push(data);
    else this.#pending.push(...data);
    this.#pending.push('\n\n');
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    process.nextTick(() => this.#flush());
  }

  /** Sends `[DONE]` and ends the response. */
  end(): void {
    this.send('[DONE]');
    this.#ended = true;
  }

  #flush(): void {
    this.#flushQueued = false;
    const parts = this.#pending;
    this.#pending = [];
    if (this.#raw.destroyed) return;
    const mark = this.#tracer.begin();
    const size = this.#write(parts);
    if (mark >= 0) this.#tracer.end(mark, 'writeEvents', size);
  }

  /** Returns the bytes of the text. */
  #write(parts: readonly (string | Uint8Array)[]): number {
    const raw = this.#raw;
    const size = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0);
    const frame = Buffer.allocUnsafe(CHUNK_HEAD_BYTES + size + 2);
    let at = CHUNK_HEAD_BYTES;
    for (const part of parts) {
      if (typeof part === 'string') {
        at += frame.write(part, at);
      } else {
        frame.set(part, at);
        at += part.length;
      }
    }
    const { socket } = raw;
    if (this.#ended) raw.end(frame.subarray(CHUNK_HEAD_BYTES, at));
    else if (this.#begun && raw.chunkedEncoding && socket !== null) socket.write(asChunk(frame, size));
    else raw.write(frame.subarray(CHUNK_HEAD_BYTES, at));
    this.#begun = true;
    return size;
  }
}

/**
 * `frame` holds the text after CHUNK_HEAD_BYTES and ends with room for two bytes. A chunk of the body that is framed here
 * is one buffer and one write; ServerResponse would make four of it, which take twice as long.
 */
function asChunk(frame: Buffer, size: number): Buffer {
  const head = `${size.toString(16)}\r\n`;
  const begin = CHUNK_HEAD_BYTES - head.length;
  frame.write(head, begin, 'latin1');
  frame.write('\r\n', CHUNK_HEAD_BYTES + size, 'latin1');
  return frame.subarray(begin);
}

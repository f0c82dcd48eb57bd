// One stream of server-sent events. What one step of the engine brings is written at once; a client that does not read
// fast enough gets later events with more in them, so its memory here stays bounded.
import type { ServerResponse } from 'node:http';
import type { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
};

export class SseStream {
  readonly #raw: ServerResponse;
  readonly #tracer: FrontEndTracer;
  #pending = '';
  #flushQueued = false;
  #ended = false;

  /** Sends the headers with the first event. */
  constructor(raw: ServerResponse, tracer: FrontEndTracer) {
    this.#raw = raw;
    this.#tracer = tracer;
    raw.writeHead(200, HEADERS);
  }

  /** The client has not taken what was sent: keep the next event until `onDrain`. */
  get congested(): boolean {
    return this.#raw.writableNeedDrain;
  }

  onDrain(listener: () => void): void {
    this.#raw.on('drain', listener);
  }

  /** `data` is one line. Nothing is written before this turn of the event loop is over. */
  send(data: string): void {
    this.#pending += `data: ${data}\n\n`;
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
    const text = this.#pending;
    this.#pending = '';
    if (this.#raw.destroyed) return;
    const mark = this.#tracer.begin();
    if (this.#ended) this.#raw.end(text);
    else this.#raw.write(text);
    if (mark >= 0) this.#tracer.end(mark, 'writeEvents', Buffer.byteLength(text));
  }
}

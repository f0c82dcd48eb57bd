// One stream of server-sent events. What one step of the engine brings is written at once; a client that does not read
// fast enough gets later events with more in them, so its memory here stays bounded.
import type { ServerResponse } from 'node:http';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
};

export class SseStream {
  readonly #raw: ServerResponse;
  #pending = '';
  #flushQueued = false;
  #ended = false;

  /** Sends the headers with the first event. */
  constructor(raw: ServerResponse) {
    this.#raw = raw;
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
    if (this.#ended) this.#raw.end(text);
    else this.#raw.write(text);
  }
}

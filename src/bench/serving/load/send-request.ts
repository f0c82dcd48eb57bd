// Sends one request of a workload and records its answer. Never rejects: whatever goes wrong is part of the record.
import { monotonicSeconds } from '../../../util/clock.js';
import type { BenchRequest } from '../../datasets/bench-request.js';
import type { HttpClient } from '../../http/http-client.js';
import type { Backend, PayloadSettings } from '../backends/backend.js';
import { AnswerRecorder } from './answer-recorder.js';
import type { RequestRecord } from './request-record.js';

/** As SGLang: six hours. */
const LONGEST_REQUEST_MS = 6 * 3600 * 1000;

export class RequestSender {
  readonly #client: HttpClient;
  readonly #backend: Backend;
  readonly #settings: PayloadSettings;
  readonly #interrupt: AbortSignal;
  readonly #running = new Set<AbortController>();

  /** `interrupt`: the user wants to stop; requests that it cuts have neither failed nor succeeded. */
  constructor(client: HttpClient, backend: Backend, settings: PayloadSettings, interrupt: AbortSignal) {
    this.#client = client;
    this.#backend = backend;
    this.#settings = settings;
    this.#interrupt = interrupt;
    // One listener for all: a signal with thousands of them is slow, and warns.
    interrupt.addEventListener('abort', () => this.#cutAll(), { once: true });
  }

  /** `index`, `arrivedAt` (monotonic seconds) and `turn` only go into the record. */
  send(request: BenchRequest, index: number, arrivedAt: number, turn = 0): Promise<RequestRecord> {
    // Built before the clock starts: writing JSON is the client's time, not the server's.
    const body = Buffer.from(JSON.stringify(this.#backend.payload(request, this.#settings)));
    const cut = new AbortController();
    this.#running.add(cut);
    if (this.#interrupt.aborted) cut.abort();
    const timer = setTimeout(() => cut.abort(), LONGEST_REQUEST_MS);
    const recorder = new AnswerRecorder({
      index,
      turn,
      promptLen: request.promptLen,
      requestedLen: request.outputLen,
      arrivedAt,
      sentAt: monotonicSeconds(),
      reader: this.#backend.reader(),
      countsTokens: this.#backend.countsTokens,
      stream: this.#settings.stream,
    });
    return new Promise((resolve) => {
      this.#client.post(this.#backend.path, body, cut.signal, {
        onHead: (status, reason, contentType) => recorder.head(status, reason, contentType),
        onChunk: (chunk) => recorder.chunk(chunk, monotonicSeconds()),
        onEnd: (error) => {
          clearTimeout(timer);
          this.#running.delete(cut);
          resolve(recorder.finish(error, error !== undefined && this.#interrupt.aborted));
        },
      });
    });
  }

  #cutAll(): void {
    for (const cut of this.#running) cut.abort();
  }
}

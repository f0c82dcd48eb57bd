// Sends one request of a workload and records its answer. Never rejects: whatever goes wrong is part of the record.
import { monotonicSeconds } from '../../util/clock.js';
import type { BenchRequest } from '../datasets/bench-request.js';
import { AnswerRecorder } from './answer-recorder.js';
import type { Backend, PayloadSettings } from './backends/backend.js';
import type { HttpClient } from './http-client.js';
import type { RequestRecord } from './request-record.js';

/** As SGLang: six hours. */
const LONGEST_REQUEST_MS = 6 * 3600 * 1000;

export class RequestSender {
  readonly #client: HttpClient;
  readonly #backend: Backend;
  readonly #settings: PayloadSettings;

  constructor(client: HttpClient, backend: Backend, settings: PayloadSettings) {
    this.#client = client;
    this.#backend = backend;
    this.#settings = settings;
  }

  /** `interrupt`: the user wants to stop; a request that it cuts has neither failed nor succeeded. */
  send(request: BenchRequest, index: number, arrivedAt: number, interrupt: AbortSignal): Promise<RequestRecord> {
    // Built before the clock starts: writing JSON is the client's time, not the server's.
    const body = Buffer.from(JSON.stringify(this.#backend.payload(request, this.#settings)));
    const cut = new AbortController();
    const onInterrupt = (): void => cut.abort();
    interrupt.addEventListener('abort', onInterrupt);
    const timer = setTimeout(() => cut.abort(), LONGEST_REQUEST_MS);
    const recorder = new AnswerRecorder({
      index,
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
          interrupt.removeEventListener('abort', onInterrupt);
          const wasCut = error !== undefined && interrupt.aborted;
          resolve(recorder.finish(error, wasCut));
        },
      });
    });
  }
}

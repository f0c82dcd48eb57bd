// Sends one request of a workload and records its answer. Never rejects: whatever goes wrong is part of the record.
import { monotonicSeconds } from '../../../util/clock.js';
import type { BenchRequest } from '../../datasets/bench-request.js';
import type { HttpClient } from '../../http/http-client.js';
import type { Backend, PayloadSettings } from '../backends/backend.js';
import { AnswerRecorder } from './answer-recorder.js';
import type { RequestRecord } from './request-record.js';

/** Read by routers that keep the requests of one user at one server. */
const ROUTING_KEY_HEADER = 'x-smg-routing-key';

export interface SenderSettings {
  readonly payload: PayloadSettings;
  /** A request without a complete answer has failed by then. */
  readonly timeoutSeconds: number;
}

export class RequestSender {
  readonly #client: HttpClient;
  readonly #backend: Backend;
  readonly #settings: SenderSettings;
  readonly #interrupt: AbortSignal;
  readonly #running = new Set<AbortController>();

  /** `interrupt`: the user wants to stop; requests that it cuts have neither failed nor succeeded. */
  constructor(client: HttpClient, backend: Backend, settings: SenderSettings, interrupt: AbortSignal) {
    this.#client = client;
    this.#backend = backend;
    this.#settings = settings;
    this.#interrupt = interrupt;
    // One listener for all: a signal with thousands of them is slow, and warns.
    interrupt.addEventListener('abort', () => this.#cutAll(), { once: true });
  }

  /** `index`, `turn` and `arrivedAt` (monotonic seconds) only go into the record. */
  send(request: BenchRequest, index: number, arrivedAt: number, turn = 0): Promise<RequestRecord> {
    const { payload, timeoutSeconds } = this.#settings;
    // Built before the clock starts: writing JSON is the client's time, not the server's.
    const body = Buffer.from(JSON.stringify(this.#backend.payload(request, payload)));
    const headers = request.routingKey === undefined ? {} : { [ROUTING_KEY_HEADER]: request.routingKey };
    const cut = new AbortController();
    this.#running.add(cut);
    if (this.#interrupt.aborted) cut.abort();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      cut.abort();
    }, timeoutSeconds * 1000);
    const recorder = new AnswerRecorder({
      index,
      turn,
      promptLen: request.promptLen,
      requestedLen: request.outputLen,
      arrivedAt,
      sentAt: monotonicSeconds(),
      reader: this.#backend.reader(),
      countsTokens: this.#backend.countsTokens,
      stream: payload.stream,
      namesEnd: this.#backend.namesEnd,
    });
    return new Promise((resolve) => {
      const listener = {
        onHead: (status: number, reason: string, contentType: string) => recorder.head(status, reason, contentType),
        onChunk: (chunk: Buffer) => recorder.chunk(chunk, monotonicSeconds()),
        onEnd: (error: Error | undefined) => {
          clearTimeout(timer);
          this.#running.delete(cut);
          const why = isLate && error !== undefined ? late(timeoutSeconds) : error;
          const interrupted = error !== undefined && !isLate && this.#interrupt.aborted;
          resolve(recorder.finish(why, interrupted, monotonicSeconds()));
        },
      };
      this.#client.post(this.#backend.path, body, cut.signal, listener, headers);
    });
  }

  #cutAll(): void {
    for (const cut of this.#running) cut.abort();
  }
}

function late(seconds: number): Error {
  return new Error(`no complete answer within ${seconds} s (--request-timeout-sec)`);
}

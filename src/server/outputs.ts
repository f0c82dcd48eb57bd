// From running requests to HTTP replies: collected, or streamed as server-sent events. A client that goes away aborts its
// requests; one that reads slowly gets fewer events with more in them.
import type { FastifyReply } from 'fastify';
import { errorOfFinish, userAbort } from '../frontend/finish-error.js';
import type { GenerateRequest, PreparedRequest } from '../frontend/generate-request.js';
import type { RequestState } from '../frontend/request-state.js';
import type { TokenizerManager } from '../frontend/tokenizer-manager.js';
import type { VitrineError } from '../util/errors.js';
import { errorEvent, sendError } from './errors.js';
import type { JsonParts } from './json-text.js';
import type { Dialect } from './route-config.js';
import { SseStream } from './sse.js';

const DISCONNECTED = userAbort('The client has disconnected.');

/** Encodes and checks all, so that a bad one is refused before any runs. Results are in order, n outputs each. */
export async function prepareAll(
  manager: TokenizerManager,
  requests: readonly GenerateRequest[],
): Promise<PreparedRequest[]> {
  return (await Promise.all(requests.map((request) => manager.prepare(request)))).flat();
}

/** The finished outputs, in order; null when the client has gone. Throws the error of the first output that failed. */
export async function collectOutputs(
  reply: FastifyReply,
  manager: TokenizerManager,
  prepared: readonly PreparedRequest[],
): Promise<readonly RequestState[] | null> {
  const { raw } = reply;
  if (raw.destroyed) return null;
  const states = await new Promise<readonly RequestState[] | null>((resolve) => {
    let running = prepared.length;
    const onUpdate = (state: RequestState) => {
      if (state.finish === null) return;
      running -= 1;
      if (running === 0) resolve(started);
    };
    const started = manager.start(prepared, onUpdate, { delivers: true });
    raw.once('close', () => {
      if (running > 0) {
        for (const state of started) manager.abort(state, DISCONNECTED, true);
        resolve(null);
      }
      for (const state of started) manager.delivered(state);
    });
  });
  for (const state of states ?? []) {
    const error = errorOfFinish(state.finish!);
    if (error !== null) throw error;
  }
  return states;
}

/** How one API writes its events. */
export interface StreamFormat {
  readonly dialect: Dialect;
  /** JSON of the events for what is new in an output; often one, none where there is nothing to tell. */
  events(state: RequestState, index: number): readonly JsonParts[];
  /** JSON of the events after all outputs. */
  closing(states: readonly RequestState[]): readonly string[];
}

/**
 * Streams the outputs. The reply starts with the first event, so a request that the scheduler refuses at once still gets
 * its HTTP status; later failures are an event.
 */
export class OutputStream {
  readonly #reply: FastifyReply;
  readonly #manager: TokenizerManager;
  readonly #format: StreamFormat;
  readonly #states: readonly RequestState[];
  readonly #indexes: ReadonlyMap<RequestState, number>;
  /** Outputs with news that a congested connection has not got yet. */
  readonly #waiting = new Set<RequestState>();
  #sse: SseStream | null = null;
  #running: number;
  #closed = false;

  private constructor(
    reply: FastifyReply,
    manager: TokenizerManager,
    prepared: readonly PreparedRequest[],
    format: StreamFormat,
  ) {
    this.#reply = reply;
    this.#manager = manager;
    this.#format = format;
    this.#running = prepared.length;
    this.#states = manager.start(prepared, (state) => this.#onUpdate(state), { delivers: true });
    this.#indexes = new Map(this.#states.map((state, index) => [state, index]));
    reply.raw.once('close', () => this.#onClose());
  }

  /** Errors that come before anything runs are thrown. */
  static start(
    reply: FastifyReply,
    manager: TokenizerManager,
    prepared: readonly PreparedRequest[],
    format: StreamFormat,
  ): void {
    if (reply.raw.destroyed) return;
    new OutputStream(reply, manager, prepared, format);
  }

  #onUpdate(state: RequestState): void {
    if (this.#closed) return;
    if (this.#sse?.congested) this.#waiting.add(state);
    else this.#write(state);
  }

  #write(state: RequestState): void {
    const error = state.finish === null ? null : errorOfFinish(state.finish);
    if (this.#sse === null) {
      if (error !== null) {
        this.#refuse(error);
        return;
      }
      this.#open();
    }
    const sse = this.#sse!;
    if (error === null) for (const event of this.#format.events(state, this.#indexes.get(state)!)) sse.send(event);
    else sse.send(errorEvent(error, this.#format.dialect));
    if (state.finish === null) return;
    this.#running -= 1;
    if (this.#running > 0) return;
    this.#closed = true;
    for (const event of this.#format.closing(this.#states)) sse.send(event);
    sse.end();
  }

  #open(): void {
    this.#reply.hijack();
    this.#sse = new SseStream(this.#reply.raw, this.#manager.tracer);
    this.#sse.onDrain(() => this.#onDrain());
  }

  #onDrain(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const state of waiting) this.#onUpdate(state);
  }

  #refuse(error: VitrineError): void {
    this.#abortAll();
    sendError(this.#reply, error, this.#format.dialect);
  }

  #onClose(): void {
    if (!this.#closed) this.#abortAll();
    for (const state of this.#states) this.#manager.delivered(state);
  }

  #abortAll(): void {
    this.#closed = true;
    this.#waiting.clear();
    for (const state of this.#states) this.#manager.abort(state, DISCONNECTED, true);
  }
}

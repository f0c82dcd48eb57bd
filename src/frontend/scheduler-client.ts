// The front end's view of one scheduler: gives messages their ids, hands chunks and replies to whoever waits for them, and
// answers in the scheduler's place when it is gone, so that nobody waits for ever.
import type { FrontendChannel, FrontendMessage } from '../messages/channel.js';
import type { RankInfo, SchedulerState } from '../messages/control.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import type { ProfileReplyMessage, ProfileRequest, RankProfile } from '../messages/profile.js';
import type { GenerateMessage } from '../messages/requests.js';
import { type ErrorCode, VitrineError } from '../util/errors.js';
import type { FrontEndEnd, FrontEndSpans, FrontEndTracer } from './profiler/front-end-tracer.js';

export type ChunkListener = (chunk: TokenChunk) => void;

interface Pending<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: VitrineError) => void;
}

export class SchedulerClient {
  /** Resolves when the model is loaded; rejects with the reason when it cannot be. */
  readonly ready: Promise<RankInfo>;
  /** Resolves with the reason when the scheduler is gone for good; every request has got its final chunk by then. */
  readonly gone: Promise<VitrineError>;

  readonly #channel: FrontendChannel;
  readonly #tracer: FrontEndTracer | null;
  readonly #requests = new Map<string, ChunkListener>();
  readonly #states = new Map<number, Pending<SchedulerState>>();
  readonly #flushes = new Map<number, Pending<boolean>>();
  readonly #profiles = new Map<number, Pending<RankProfile>>();
  readonly #profileListeners: ((profile: RankProfile) => void)[] = [];
  readonly #outputWaiters = new Set<() => void>();
  #nextId = 1;
  #failure: VitrineError | null = null;
  #resolveReady!: (info: RankInfo) => void;
  #rejectReady!: (error: VitrineError) => void;
  #resolveGone!: (error: VitrineError) => void;

  constructor(channel: FrontendChannel, tracer: FrontEndTracer | null = null) {
    this.#channel = channel;
    this.#tracer = tracer;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ready.catch(() => {}); // whoever needs it awaits it
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    channel.onMessage((message) => this.#onMessage(message));
    channel.onClose(() => this.#fail(new VitrineError('ENGINE_FAILED', 'The scheduler process is gone.')));
  }

  /** Why no request can be served any more, or null. */
  get failure(): VitrineError | null {
    return this.#failure;
  }

  /** Requests whose final chunk has not come. */
  get running(): number {
    return this.#requests.size;
  }

  /**
   * Starts a request and returns the id by which to abort it. `listener` gets its chunks, each inside a later turn, the
   * last one with a `finish`; none after `abort`.
   */
  generate(message: Omit<GenerateMessage, 'kind' | 'rid'>, listener: ChunkListener): string {
    if (this.#failure !== null) throw this.#failure;
    // Ids of our own: a user may use a request id again before the scheduler's last word on the old one has come.
    const rid = (this.#nextId++).toString(36);
    this.#requests.set(rid, listener);
    this.#channel.send({ kind: 'generate', rid, ...message });
    return rid;
  }

  /** The listener hears nothing more of it. No effect on a finished request. */
  abort(rid: string, reason: string): void {
    if (this.#requests.delete(rid)) this.#channel.send({ kind: 'abort', rid, reason });
  }

  /** Error: ENGINE_FAILED. */
  state(): Promise<SchedulerState> {
    return this.#ask(this.#states, (id) => this.#channel.send({ kind: 'state', id }));
  }

  /** False when a request was running or waiting: nothing was flushed then. Error: ENGINE_FAILED. */
  flushCache(): Promise<boolean> {
    return this.#ask(this.#flushes, (id) => this.#channel.send({ kind: 'flush-cache', id }));
  }

  /**
   * Resolves when the profile is armed or records. Errors: why the rank does not start it (PROFILE_CONFLICT,
   * TRACE_NOT_WRITTEN, INVALID_REQUEST), ENGINE_FAILED.
   */
  startProfile(request: ProfileRequest): Promise<RankProfile> {
    return this.#ask(this.#profiles, (id) => this.#channel.send({ kind: 'start-profile', id, request }));
  }

  /** Resolves when the profile's files are complete. Errors: PROFILE_CONFLICT where none is under way, ENGINE_FAILED. */
  stopProfile(): Promise<RankProfile> {
    return this.#ask(this.#profiles, (id) => this.#channel.send({ kind: 'stop-profile', id }));
  }

  /** Tells `listener` all that the rank says of its profiles, in order, before the promise of a call that asked settles. */
  onProfileUpdate(listener: (profile: RankProfile) => void): void {
    this.#profileListeners.push(listener);
  }

  /** Nothing is sent once the scheduler is gone. */
  sendSpans(spans: FrontEndSpans): void {
    if (this.#failure === null) this.#channel.send({ kind: 'front-end-spans', ...spans });
  }

  /** After the last `sendSpans` of a profile. */
  endSpans(end: FrontEndEnd): void {
    if (this.#failure === null) this.#channel.send({ kind: 'front-end-end', ...end });
  }

  /** Resolves at the next chunk of any request, or when the scheduler is gone. */
  nextOutput(): Promise<void> {
    if (this.#failure !== null) return Promise.resolve();
    return new Promise((resolve) => this.#outputWaiters.add(resolve));
  }

  /** Asks the scheduler to abort everything and stop; `gone` resolves when it has. */
  shutdown(): void {
    if (this.#failure === null) this.#channel.send({ kind: 'shutdown' });
  }

  /** Lets go of the channel: the other side notices and stops. */
  close(): void {
    this.#channel.close();
    this.#fail(new VitrineError('SHUTTING_DOWN', 'The engine has been closed.'));
  }

  #onMessage(message: FrontendMessage): void {
    switch (message.kind) {
      case 'outputs':
        this.#onOutputs(message.chunks);
        break;
      case 'state-result':
        this.#answer(this.#states, message.id, message.state);
        break;
      case 'flush-cache-result':
        this.#answer(this.#flushes, message.id, message.flushed);
        break;
      case 'profile-result':
        this.#onProfileResult(message);
        break;
      case 'profile-update':
        this.#tellProfile(message.profile);
        break;
      case 'ready':
        this.#resolveReady(message.info);
        break;
      case 'fatal':
        this.#fail(new VitrineError(message.code as ErrorCode, message.message));
        break;
    }
  }

  #onOutputs(chunks: readonly TokenChunk[]): void {
    const mark = this.#tracer?.begin() ?? -1;
    for (const chunk of chunks) this.#onChunk(chunk);
    this.#tracer?.end(mark, 'detokenize', chunks.length);
    this.#wakeOutputWaiters();
  }

  #onChunk(chunk: TokenChunk): void {
    const listener = this.#requests.get(chunk.rid);
    if (listener === undefined) return; // aborted
    if (chunk.finish !== null) this.#requests.delete(chunk.rid);
    listener(chunk);
  }

  #onProfileResult({ id, profile, error }: Extract<ProfileReplyMessage, { kind: 'profile-result' }>): void {
    if (profile !== null) {
      this.#tellProfile(profile);
      this.#answer(this.#profiles, id, profile);
      return;
    }
    const { code, message, param } = error ?? { code: 'INTERNAL', message: 'The rank gave no reason.', param: null };
    const failure = new VitrineError(code as ErrorCode, message, param === null ? {} : { param });
    this.#profiles.get(id)?.reject(failure);
    this.#profiles.delete(id);
  }

  #tellProfile(profile: RankProfile): void {
    for (const listener of this.#profileListeners) listener(profile);
  }

  #wakeOutputWaiters(): void {
    if (this.#outputWaiters.size === 0) return;
    for (const wake of this.#outputWaiters) wake();
    this.#outputWaiters.clear();
  }

  #ask<T>(pending: Map<number, Pending<T>>, send: (id: number) => void): Promise<T> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve, reject });
      send(id);
    });
  }

  #answer<T>(pending: Map<number, Pending<T>>, id: number, value: T): void {
    pending.get(id)?.resolve(value);
    pending.delete(id);
  }

  #fail(failure: VitrineError): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    this.#rejectReady(failure);
    const finish: FinishReason = {
      type: 'abort',
      message: failure.message,
      statusCode: failure.status,
      errType: failure.code,
    };
    for (const rid of [...this.#requests.keys()]) {
      this.#onChunk({ rid, tokenIds: [], finish, cachedTokens: 0, retractions: 0 });
    }
    for (const pending of [this.#states, this.#flushes, this.#profiles]) {
      for (const { reject } of pending.values()) reject(failure);
      pending.clear();
    }
    this.#wakeOutputWaiters();
    this.#resolveGone(failure);
  }
}

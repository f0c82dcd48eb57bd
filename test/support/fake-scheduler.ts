// The scheduler's end of a channel without an engine: every request gets tokens by a fixed rule, one per turn of the event
// loop. For tests of the front end and the server.
import type { SchedulerChannel, SchedulerMessage } from '#vitrine/messages/channel.js';
import type { RankInfo } from '#vitrine/messages/control.js';
import type { FinishReason, TokenChunk, TokenLogprobs } from '#vitrine/messages/outputs.js';
import type { GenerateMessage } from '#vitrine/messages/requests.js';
import { FakeProfiler, type FakeProfilerOptions } from './fake-profiler.js';

const NO_WORK = { steps: 0, seconds: 0, flops: 0, float8Flops: 0, bytes: 0 };

export interface FakeSchedulerOptions {
  /** Output token `index` of a request. Default: the prompt, over and over. */
  readonly token?: (message: GenerateMessage, index: number) => number;
  readonly eosTokenIds?: readonly number[];
  /** Tokens come only by `step()`. */
  readonly manual?: boolean;
  /** Tokens per chunk. */
  readonly chunkSize?: number;
  /** A final word at once instead of tokens. */
  readonly refuse?: (message: GenerateMessage) => FinishReason | null;
  readonly profiler?: FakeProfilerOptions;
}

export const FAKE_INFO: RankInfo = {
  maxTotalTokens: 8192,
  maxRunningRequests: 256,
  chunkedPrefillSize: 2048,
  memFractionStatic: 0.3,
  contextLength: 512,
  vocabSize: 512,
  weightBytes: 1 << 20,
  kvCacheBytes: 1 << 22,
  graphBytes: 1 << 29,
  dtype: 'float32',
  kvCacheDtype: 'float8_e4m3fn',
  quantization: 'compressed-tensors',
  cudaGraphBatchSizes: [1, 2, 4],
  device: 'cpu',
  deviceName: 'fake',
  loadSeconds: 0,
};

interface FakeRequest {
  readonly message: GenerateMessage;
  count: number;
}

export class FakeScheduler {
  /** Every message that came. */
  readonly received: SchedulerMessage[] = [];
  readonly running = new Map<string, FakeRequest>();
  readonly profiler: FakeProfiler;
  readonly #channel: SchedulerChannel;
  readonly #options: FakeSchedulerOptions;
  #stepQueued = false;
  #steps = 0;
  #generated = 0;

  constructor(channel: SchedulerChannel, options: FakeSchedulerOptions = {}) {
    this.#channel = channel;
    this.#options = options;
    this.profiler = new FakeProfiler((reply) => channel.send(reply), options.profiler);
    channel.onMessage((message) => this.#onMessage(message));
    channel.onClose(() => this.running.clear());
  }

  ready(info: RankInfo = FAKE_INFO): void {
    this.#channel.send({ kind: 'ready', info });
  }

  /** All generate messages so far. */
  get generated(): GenerateMessage[] {
    return this.received.filter((message) => message.kind === 'generate');
  }

  get aborts(): string[] {
    return this.received.flatMap((message) => (message.kind === 'abort' ? [message.rid] : []));
  }

  /** One chunk for every running request. */
  step(): void {
    const chunks = [...this.running.values()].map((request) => this.#advance(request));
    this.#steps += 1;
    this.profiler.step(this.#steps);
    if (chunks.length > 0) this.#channel.send({ kind: 'outputs', chunks });
  }

  /** Raw chunks, e.g. of a request that the scheduler no longer has. */
  send(...chunks: TokenChunk[]): void {
    this.#channel.send({ kind: 'outputs', chunks });
  }

  /** As a scheduler whose engine broke: everyone gets an error, then it is gone. */
  die(message: string): void {
    const finish: FinishReason = { type: 'abort', message, statusCode: 500, errType: 'EngineError' };
    this.send(...[...this.running.keys()].map((rid) => finalChunk(rid, finish)));
    this.running.clear();
    this.#channel.send({ kind: 'fatal', code: 'ENGINE_FAILED', message });
    this.#channel.close();
  }

  /** As a process that was killed: not a word. */
  vanish(): void {
    this.running.clear();
    this.#channel.close();
  }

  #onMessage(message: SchedulerMessage): void {
    this.received.push(message);
    switch (message.kind) {
      case 'generate': {
        const refusal = this.#options.refuse?.(message) ?? null;
        if (refusal !== null) {
          this.send(finalChunk(message.rid, refusal));
          return;
        }
        this.running.set(message.rid, { message, count: 0 });
        this.#queueStep();
        break;
      }
      case 'abort':
        if (!this.running.delete(message.rid)) return;
        this.send(
          finalChunk(message.rid, {
            type: 'abort',
            message: message.reason,
            statusCode: 499,
            errType: 'AbortError',
          }),
        );
        break;
      case 'state':
        this.#channel.send({
          kind: 'state-result',
          id: message.id,
          state: {
            runningRequests: this.running.size,
            queuedRequests: 0,
            usedTokens: 16 * this.running.size,
            cachedTokens: 0,
            totalTokens: FAKE_INFO.maxTotalTokens,
            forwardSteps: this.#steps,
            promptTokensTotal: 0,
            cachedTokensTotal: 0,
            generatedTokensTotal: this.#generated,
            retractionsTotal: 0,
            stepWork: { extend: NO_WORK, decode: NO_WORK, mixed: NO_WORK },
            abortedTotal: this.aborts.length,
            lastGenThroughput: 123,
            profile: null,
          },
        });
        break;
      case 'flush-cache':
        this.#channel.send({ kind: 'flush-cache-result', id: message.id, flushed: this.running.size === 0 });
        break;
      case 'start-profile':
      case 'stop-profile':
      case 'front-end-spans':
      case 'front-end-end':
        this.profiler.onMessage(message);
        break;
      case 'shutdown':
        this.#channel.close();
        break;
    }
  }

  #queueStep(): void {
    if (this.#stepQueued || this.#options.manual) return;
    this.#stepQueued = true;
    setImmediate(() => {
      this.#stepQueued = false;
      this.step();
      if (this.running.size > 0) this.#queueStep();
    });
  }

  #advance(request: FakeRequest): TokenChunk {
    const { message } = request;
    const { sampling } = message;
    const tokenIds: number[] = [];
    let finish: FinishReason | null = null;
    const first = request.count === 0;
    while (finish === null && tokenIds.length < (this.#options.chunkSize ?? 1)) {
      if (request.count < sampling.maxNewTokens) {
        const id = this.#token(message, request.count);
        tokenIds.push(id);
        request.count += 1;
        if (this.#stops(message, id) && request.count >= sampling.minNewTokens) finish = { type: 'stop', matched: id };
      }
      if (finish === null && request.count >= sampling.maxNewTokens) finish = { type: 'length', length: request.count };
    }
    this.#generated += tokenIds.length;
    if (finish !== null) this.running.delete(message.rid);
    return {
      rid: message.rid,
      tokenIds,
      finish,
      cachedTokens: 0,
      retractions: 0,
      ...(message.logprobs === null ? {} : this.#logprobs(message, tokenIds, first)),
      ...(first || finish !== null ? { times: { queued: 1, scheduled: 2, firstToken: 3 } } : {}),
    };
  }

  #token(message: GenerateMessage, index: number): number {
    return this.#options.token?.(message, index) ?? message.inputIds[index % message.inputIds.length]!;
  }

  #stops({ sampling }: GenerateMessage, id: number): boolean {
    const eos = sampling.ignoreEos ? [] : (this.#options.eosTokenIds ?? []);
    return eos.includes(id) || sampling.stopTokenIds.includes(id);
  }

  /** -id/1000 for every token; the most likely ones are 0, 1, 2, … */
  #logprobs({ logprobs, inputIds }: GenerateMessage, tokenIds: readonly number[], first: boolean): Partial<TokenChunk> {
    const { startLen, topCount, tokenIds: watched } = logprobs!;
    const list = (ids: readonly number[], startsAtZero: boolean): TokenLogprobs => ({
      ids,
      values: ids.map((id, i) => (i === 0 && startsAtZero ? null : -id / 1000)),
      top: ids.map((_, i) =>
        topCount === 0 || (i === 0 && startsAtZero)
          ? null
          : Array.from({ length: topCount }, (_, k) => [k, -k / 1000] as const),
      ),
      watched: ids.map(() => (watched.length === 0 ? null : watched.map((id) => [id, -id / 1000] as const))),
    });
    const input = first && startLen >= 0 ? { inputLogprobs: list(inputIds.slice(startLen), startLen === 0) } : {};
    return { outputLogprobs: list(tokenIds, false), ...input };
  }
}

function finalChunk(rid: string, finish: FinishReason): TokenChunk {
  return { rid, tokenIds: [], finish, cachedTokens: 0, retractions: 0 };
}

// The scheduler of one replica. Event-driven on the rank's JavaScript thread: a message or a finished step wakes it, it
// fills the pipeline (two steps with overlap, else one) and sleeps. Steps run in order on the engine thread, so blocks and
// slots may be handed on as soon as the host lets go of them: a step in flight uses them before any later step does.
import type { SchedulerOptions } from '../config/scheduler-options.js';
import type { ModelRunner } from '../engine/model-runner.js';
import { Request } from '../engine/request.js';
import type { StepOutput } from '../engine/step-output.js';
import { BlockManager } from '../kv-cache/block-manager.js';
import type { SchedulerChannel, SchedulerMessage } from '../messages/channel.js';
import type { SchedulerState } from '../messages/control.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import type { GenerateMessage } from '../messages/requests.js';
import { monotonicSeconds } from '../util/clock.js';
import { toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { BatchBuilder, type ScheduledStep } from './batch-builder.js';
import { LoadStats } from './load-stats.js';
import { OutputProcessor } from './output-processor.js';
import { RequestQueues } from './request-queues.js';
import { FcfsPolicy, LpmPolicy } from './schedule-policy.js';

export interface SchedulerDeps {
  readonly runner: ModelRunner;
  readonly options: SchedulerOptions;
  readonly eosTokenIds: readonly number[];
  readonly channel: SchedulerChannel;
  readonly log: Log;
}

interface StepInFlight extends ScheduledStep {
  readonly submittedAt: number;
}

export class Scheduler {
  /** Resolves with the exit code when the scheduler has stopped for good. */
  readonly closed: Promise<number>;

  readonly #runner: ModelRunner;
  readonly #options: SchedulerOptions;
  readonly #eosTokenIds: readonly number[];
  readonly #channel: SchedulerChannel;
  readonly #log: Log;
  readonly #blocks: BlockManager;
  readonly #queues: RequestQueues;
  readonly #stats: LoadStats;
  readonly #builder: BatchBuilder;
  readonly #outputs: OutputProcessor;
  readonly #depth: number;
  readonly #inFlight: StepInFlight[] = [];
  #pumpQueued = false;
  #stopped = false;
  #watchdog: NodeJS.Timeout | null = null;
  #resolveClosed!: (code: number) => void;

  constructor(deps: SchedulerDeps) {
    const { runner, options, channel } = deps;
    this.#runner = runner;
    this.#options = options;
    this.#eosTokenIds = deps.eosTokenIds;
    this.#channel = channel;
    this.#log = deps.log;
    this.#blocks = new BlockManager(runner.limits.numBlocks, runner.limits.blockSize, {
      prefixCache: !options.disableRadixCache,
    });
    this.#queues = new RequestQueues(runner.limits.maxRequests);
    this.#stats = new LoadStats(options.decodeLogInterval);
    const policy = options.schedulePolicy === 'lpm' ? new LpmPolicy(this.#blocks) : new FcfsPolicy();
    this.#builder = new BatchBuilder(options, runner.limits, this.#queues, this.#blocks, policy, this.#stats);
    this.#outputs = new OutputProcessor(this.#queues, this.#blocks);
    this.#depth = options.disableOverlapSchedule ? 1 : 2;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    runner.onStep((error, output) => this.#onStep(error, output));
    channel.onMessage((message) => this.#onMessage(message));
    channel.onClose(() => this.#stop(0, 'the front end is gone'));
  }

  get state(): SchedulerState {
    const { blockSize, numBlocks } = this.#runner.limits;
    return {
      runningRequests: this.#queues.running.length,
      queuedRequests: this.#queues.waiting.length,
      usedTokens: this.#blocks.usedBlocks * blockSize,
      cachedTokens: this.#blocks.cachedBlocks * blockSize,
      totalTokens: numBlocks * blockSize,
      forwardSteps: this.#stats.forwardSteps,
      promptTokensTotal: this.#stats.promptTokens,
      cachedTokensTotal: this.#stats.cachedTokens,
      generatedTokensTotal: this.#stats.generatedTokens,
      retractionsTotal: this.#stats.retractions,
      abortedTotal: this.#stats.aborted,
      lastGenThroughput: this.#stats.genThroughput,
    };
  }

  /** Aborts everything with a final chunk and stops with exit code 0. */
  shutdown(): void {
    this.#stop(0, 'the server is shutting down');
  }

  #onMessage(message: SchedulerMessage): void {
    switch (message.kind) {
      case 'generate':
        this.#accept(message);
        break;
      case 'abort': {
        const request = this.#queues.find(message.rid);
        if (request === undefined) return; // it has just finished
        this.#stats.aborted += 1;
        this.#send([this.#outputs.abort(request, aborted(message.reason, 499, 'AbortError'))]);
        this.#queuePump(); // its blocks may let another one in
        break;
      }
      case 'state':
        this.#channel.send({ kind: 'state-result', id: message.id, state: this.state });
        break;
      case 'flush-cache': {
        const flushed = this.#queues.isEmpty && this.#inFlight.length === 0;
        if (flushed) this.#blocks.clearCache();
        this.#channel.send({ kind: 'flush-cache-result', id: message.id, flushed });
        break;
      }
      case 'shutdown':
        this.shutdown();
        break;
    }
  }

  #accept(message: GenerateMessage): void {
    const refusal = this.#refusal(message);
    if (refusal !== null) {
      this.#send([{ rid: message.rid, tokenIds: [], finish: refusal, cachedTokens: 0, retractions: 0 }]);
      return;
    }
    if (this.#queues.isEmpty && this.#inFlight.length === 0) this.#stats.busy();
    const request = new Request(message, this.#eosTokenIds, monotonicSeconds());
    if (request.logprobs?.startLen === 0) {
      request.inputLogprobs.push(request.tokens[0]!, null, null, null);
      request.scoredLen = 1;
    }
    this.#queues.enqueue(request);
    this.#queuePump();
  }

  /** The last guard: the front end refuses all this earlier, with the field's name. */
  #refusal({ rid, inputIds, sampling }: GenerateMessage): FinishReason | null {
    const { numBlocks, blockSize, contextLength } = this.#runner.limits;
    const capacity = Math.min(contextLength, numBlocks * blockSize);
    const wanted = inputIds.length + sampling.maxNewTokens;
    if (this.#stopped) return aborted('The server is shutting down.', 503, 'ServiceUnavailable');
    if (inputIds.length === 0) return aborted('The prompt is empty.', 400, 'BadRequestError');
    if (wanted > capacity) {
      return aborted(
        `The request needs ${wanted} tokens (${inputIds.length} of prompt and ${sampling.maxNewTokens} new), ` +
          `more than the ${capacity} that fit.`,
        400,
        'BadRequestError',
      );
    }
    if (this.#queues.find(rid) !== undefined) {
      return aborted(`A request with the id ${rid} is already running.`, 400, 'BadRequestError');
    }
    const limit = this.#options.maxQueuedRequests;
    if (limit !== undefined && this.#queues.waiting.length >= limit) {
      return aborted(`The queue is full (--max-queued-requests ${limit}).`, 503, 'ServiceUnavailable');
    }
    return null;
  }

  /** Once per turn of the event loop, so that requests which arrive together are scheduled together. */
  #queuePump(): void {
    if (this.#pumpQueued) return;
    this.#pumpQueued = true;
    setImmediate(() => {
      this.#pumpQueued = false;
      this.#pump();
    });
  }

  #pump(): void {
    try {
      while (!this.#stopped && this.#inFlight.length < this.#depth) {
        const step = this.#builder.next();
        if (step === null) break;
        this.#inFlight.push({ ...step, submittedAt: monotonicSeconds() });
        this.#armWatchdog();
        this.#runner.submit(step.batch);
      }
      if (this.#inFlight.length === 0 && !this.#stopped) this.#rest();
    } catch (thrown) {
      this.#fail(toError(thrown));
    }
  }

  /** No step is running and none can be built. */
  #rest(): void {
    if (this.#queues.isEmpty) {
      this.#stats.idle();
      this.#blocks.checkIntegrity(false);
      return;
    }
    throw new VitrineError(
      'INTERNAL',
      `nothing can be scheduled with ${this.#queues.running.length} running and ${this.#queues.waiting.length} waiting requests`,
    );
  }

  #onStep(error: VitrineError | null, output: StepOutput | null): void {
    if (this.#stopped) return;
    if (error !== null) {
      this.#fail(error);
      return;
    }
    const step = this.#inFlight.shift()!;
    try {
      const { chunks, generated } = this.#outputs.process(step.parts, output!);
      const interval = this.#stats.stepDone(generated);
      this.#pump();
      this.#send(chunks);
      this.#logStep(step, interval);
    } catch (thrown) {
      this.#fail(toError(thrown));
    }
  }

  #send(chunks: readonly TokenChunk[]): void {
    if (chunks.length > 0) this.#channel.send({ kind: 'outputs', chunks });
  }

  #logStep(step: StepInFlight, interval: boolean): void {
    if (step.promptTokens > 0 && this.#log.isLevelEnabled('debug')) {
      this.#log.debug(
        `Prefill batch, #new-token: ${step.promptTokens}, #seq: ${step.parts.length}, ` +
          `#queue-req: ${this.#queues.waiting.length}`,
      );
    }
    if (interval) {
      const { usedTokens, totalTokens } = this.state;
      this.#log.info(
        `Decode batch, #running-req: ${this.#queues.running.length}, #token: ${usedTokens}, ` +
          `token usage: ${(usedTokens / totalTokens).toFixed(2)}, ` +
          `gen throughput (token/s): ${this.#stats.genThroughput.toFixed(2)}, #queue-req: ${this.#queues.waiting.length}`,
      );
    }
  }

  #armWatchdog(): void {
    if (this.#watchdog !== null) return;
    const limit = this.#options.watchdogTimeout;
    this.#watchdog = setTimeout(() => {
      this.#watchdog = null;
      const oldest = this.#inFlight[0];
      if (oldest === undefined || this.#stopped) return;
      if (monotonicSeconds() - oldest.submittedAt >= limit) {
        this.#fail(new VitrineError('ENGINE_FAILED', `A step did not end within ${limit} s (--watchdog-timeout).`));
      } else {
        this.#armWatchdog();
      }
    }, limit * 1000);
    this.#watchdog.unref();
  }

  /** The engine or the scheduler is broken: everyone gets a coded error, and the process ends with 1. */
  #fail(error: Error): void {
    if (this.#stopped) return;
    this.#log.error({ err: error }, `Fatal: ${error.message}`);
    const code = error instanceof VitrineError ? error.code : 'INTERNAL';
    this.#endAll(aborted(error.message, 500, 'EngineError'));
    this.#channel.send({ kind: 'fatal', code, message: error.message });
    this.#close(1);
  }

  #stop(code: number, reason: string): void {
    if (this.#stopped) return;
    this.#endAll(aborted(`Aborted: ${reason}.`, 503, 'ServiceUnavailable'));
    this.#close(code);
  }

  #endAll(finish: FinishReason): void {
    this.#stopped = true;
    this.#send(this.#queues.all().map((request) => this.#outputs.abort(request, finish)));
  }

  #close(code: number): void {
    if (this.#watchdog !== null) clearTimeout(this.#watchdog);
    this.#runner.close();
    this.#channel.close();
    this.#resolveClosed(code);
  }
}

function aborted(message: string, statusCode: number, errType: string): FinishReason {
  return { type: 'abort', message, statusCode, errType };
}

// The scheduler of one replica. Event-driven on the rank's JavaScript thread: a message or a finished step wakes it, it
// fills the pipeline (two steps with overlap, else one) and sleeps. While step N + 1 runs, step N's output is processed
// and step N + 2 is built; its decode rows name the slots whose tokens the host does not know yet.
import type { SchedulerOptions } from '../config/scheduler-options.js';
import { ForwardBatchWriter } from '../engine/forward-batch-writer.js';
import type { ModelRunner } from '../engine/model-runner.js';
import { Request, type RequestDefaults } from '../engine/request.js';
import type { ScheduleBatch } from '../engine/schedule-batch.js';
import type { StepOutput } from '../engine/step-output.js';
import { BlockManager } from '../kv-cache/block-manager.js';
import type { SchedulerChannel, SchedulerMessage } from '../messages/channel.js';
import type { SchedulerState } from '../messages/control.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import type { AbortMessage, GenerateMessage } from '../messages/requests.js';
import { monotonicSeconds } from '../util/clock.js';
import { invariant, toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { aborted, kvCapacity, refusal } from './admission.js';
import { DecodeAdder } from './decode-adder.js';
import { LoadStats } from './load-stats.js';
import { NewTokenRatio } from './new-token-ratio.js';
import { OutputProcessor } from './output-processor.js';
import { PrefillAdder } from './prefill-adder.js';
import { RequestQueues } from './request-queues.js';
import { FcfsPolicy, LpmPolicy } from './schedule-policy.js';
import { StepBuilder } from './step-builder.js';
import { StepLog } from './step-log.js';
import { Watchdog } from './watchdog.js';

export interface SchedulerDeps {
  readonly runner: ModelRunner;
  readonly options: SchedulerOptions;
  readonly eosTokenIds: readonly number[];
  readonly channel: SchedulerChannel;
  readonly log: Log;
}

export class Scheduler {
  /** Resolves with the exit code when the scheduler has stopped for good. */
  readonly closed: Promise<number>;

  readonly #runner: ModelRunner;
  readonly #options: SchedulerOptions;
  readonly #channel: SchedulerChannel;
  readonly #log: Log;
  readonly #requestDefaults: RequestDefaults;
  readonly #blocks: BlockManager;
  readonly #queues: RequestQueues;
  readonly #stats: LoadStats;
  readonly #ratio = new NewTokenRatio();
  readonly #writer: ForwardBatchWriter;
  readonly #step: StepBuilder;
  readonly #decodes: DecodeAdder;
  readonly #prefills: PrefillAdder;
  readonly #outputs: OutputProcessor;
  readonly #stepLog: StepLog;
  readonly #watchdog: Watchdog;
  /** Submitted steps, oldest first. */
  readonly #inFlight: ScheduleBatch[] = [];
  /** Steps that may be in flight at once. */
  readonly #depth: number;
  /** Chunks made since the last message. */
  #outbox: TokenChunk[] = [];
  #stepId = 0;
  #pumpQueued = false;
  #stopped = false;
  #resolveClosed!: (code: number) => void;

  constructor(deps: SchedulerDeps) {
    const { runner, options, channel, eosTokenIds, log } = deps;
    const { limits } = runner;
    this.#runner = runner;
    this.#options = options;
    this.#channel = channel;
    this.#log = log;
    this.#requestDefaults = {
      eosTokenIds: eosTokenIds.filter((id) => id < limits.vocabSize),
      maxSequence: kvCapacity(limits) + 1,
    };
    this.#blocks = new BlockManager(limits.numBlocks, limits.blockSize, { prefixCache: !options.disableRadixCache });
    this.#queues = new RequestQueues(limits.maxRequests);
    this.#stats = new LoadStats(options.decodeLogInterval);
    this.#writer = new ForwardBatchWriter(limits.blockSize);
    this.#step = new StepBuilder(this.#writer, this.#blocks);
    const parts = {
      options,
      queues: this.#queues,
      blocks: this.#blocks,
      step: this.#step,
      ratio: this.#ratio,
      stats: this.#stats,
      log,
    };
    const policy = options.schedulePolicy === 'lpm' ? new LpmPolicy(this.#blocks) : new FcfsPolicy();
    this.#decodes = new DecodeAdder(parts);
    this.#prefills = new PrefillAdder({ ...parts, policy });
    this.#outputs = new OutputProcessor(this.#queues, this.#blocks);
    this.#stepLog = new StepLog({ log, queues: this.#queues, blocks: this.#blocks, stats: this.#stats });
    this.#watchdog = new Watchdog(options.watchdogTimeout, () => this.#hung());
    this.#depth = options.disableOverlapSchedule ? 1 : 2;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    runner.onStep((error, output) => this.#onStep(error, output));
    channel.onMessage((message) => this.#onMessage(message));
    channel.onClose(() => this.#stop('The front end is gone.'));
  }

  get state(): SchedulerState {
    const { blockSize, numBlocks } = this.#runner.limits;
    const stats = this.#stats;
    return {
      runningRequests: this.#queues.running.length,
      queuedRequests: this.#queues.waiting.length,
      usedTokens: this.#blocks.usedBlocks * blockSize,
      cachedTokens: this.#blocks.cachedBlocks * blockSize,
      totalTokens: numBlocks * blockSize,
      forwardSteps: stats.forwardSteps,
      promptTokensTotal: stats.promptTokens,
      cachedTokensTotal: stats.cachedTokens,
      generatedTokensTotal: stats.generatedTokens,
      retractionsTotal: stats.retractions,
      abortedTotal: stats.aborted,
      lastGenThroughput: stats.genThroughput,
    };
  }

  /** Aborts everything with a final chunk and stops with exit code 0. */
  shutdown(): void {
    this.#stop('The server is shutting down.');
  }

  /** Throws when the books of the KV cache do not balance: looks at every block. */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity(true);
  }

  // --- the loop ---------------------------------------------------------------------------------------------------

  /** Once per turn of the event loop, so that requests which arrive together are scheduled together. */
  #queuePump(): void {
    if (this.#pumpQueued || this.#stopped) return;
    this.#pumpQueued = true;
    setImmediate(() => {
      this.#pumpQueued = false;
      this.#guarded(() => this.#pump());
    });
  }

  /** Builds and submits steps until the pipeline is full or there is nothing to compute. */
  #pump(): void {
    while (!this.#stopped && this.#inFlight.length < this.#depth && this.#buildStep()) this.#submitStep();
    if (!this.#stopped && this.#inFlight.length === 0) this.#rest();
  }

  /** Puts what the next step computes into the step builder; false when that is nothing. */
  #buildStep(): boolean {
    this.#blocks.settle();
    if (this.#options.enableMixedChunk) {
      this.#decodes.addAll();
      this.#prefills.addAll();
    } else {
      this.#prefills.addAll();
      if (this.#step.batch.size === 0) this.#decodes.addAll();
    }
    return this.#step.batch.size > 0;
  }

  #submitStep(): void {
    this.#stepId += 1;
    const batch = this.#step.take(this.#stepId);
    this.#inFlight.push(batch);
    if (this.#inFlight.length === 1) this.#watchdog.restart();
    this.#runner.submitWritten(this.#writer, batch.stepId, batch.mode);
    this.#stepLog.submitted(batch);
  }

  #onStep(error: VitrineError | null, output: StepOutput | null): void {
    if (this.#stopped) return;
    this.#guarded(() => {
      if (error !== null) throw error;
      const batch = this.#inFlight.shift();
      invariant(
        batch !== undefined && output !== null && batch.stepId === output.stepId,
        'a step nobody submitted ended',
      );
      if (this.#inFlight.length > 0) this.#watchdog.restart();
      else this.#watchdog.stop();
      const generated = this.#outputs.process(batch, output, this.#outbox);
      const interval = this.#stats.stepDone(generated, batch.decodeRows > 0);
      this.#step.recycle(batch);
      this.#pump(); // first: the engine waits for it, the clients can wait
      this.#flush();
      if (interval) this.#stepLog.decodeInterval();
    });
  }

  /** No step is running and none can be built. */
  #rest(): void {
    const { running, waiting } = this.#queues;
    invariant(this.#queues.isEmpty, `nothing to compute with ${running.length} running and ${waiting.length} waiting`);
    this.#stats.idle();
    this.#ratio.idle();
    this.#blocks.checkIdle();
  }

  // --- messages ---------------------------------------------------------------------------------------------------

  #onMessage(message: SchedulerMessage): void {
    if (this.#stopped) return;
    this.#guarded(() => this.#handle(message));
  }

  #handle(message: SchedulerMessage): void {
    switch (message.kind) {
      case 'generate':
        this.#accept(message);
        break;
      case 'abort':
        this.#abort(message);
        break;
      case 'state':
        this.#channel.send({ kind: 'state-result', id: message.id, state: this.state });
        break;
      case 'flush-cache': {
        const flushed = this.#queues.isEmpty; // a step in flight for nobody does no harm
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
    const finish = this.#refusal(message);
    if (finish !== null) {
      this.#outbox.push({ rid: message.rid, tokenIds: [], finish, cachedTokens: 0, retractions: 0 });
      this.#flush();
      return;
    }
    if (this.#queues.isEmpty) this.#stats.busy();
    this.#queues.enqueue(new Request(message, this.#requestDefaults, monotonicSeconds()));
    this.#queuePump();
  }

  #refusal(message: GenerateMessage): FinishReason | null {
    if (this.#queues.find(message.rid) !== undefined) {
      return aborted(`A request with the id '${message.rid}' is already running.`, 400, 'BadRequestError');
    }
    const limit = this.#options.maxQueuedRequests;
    if (limit !== undefined && this.#queues.waiting.length >= limit) {
      return aborted(`The queue is full: --max-queued-requests ${limit} are waiting.`, 503, 'ServiceUnavailable');
    }
    return refusal(message, this.#runner.limits);
  }

  #abort({ rid, reason }: AbortMessage): void {
    const request = this.#queues.find(rid);
    if (request === undefined) return; // it has just finished
    this.#stats.aborted += 1;
    this.#outbox.push(this.#outputs.abort(request, aborted(reason, 499, 'AbortError')));
    this.#flush();
    this.#queuePump(); // its blocks and slot may let another one in
  }

  /** One message for everything that a step or a turn produced. */
  #flush(): void {
    if (this.#outbox.length === 0) return;
    this.#channel.send({ kind: 'outputs', chunks: this.#outbox });
    this.#outbox = [];
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  #guarded(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#fail(toError(thrown));
    }
  }

  /** Engine or scheduler are broken: everyone gets a coded error, and the process ends with 1. */
  #fail(error: Error, engineHangs = false): void {
    if (this.#stopped) return;
    this.#log.error({ err: error }, `Fatal: ${error.message}`);
    this.#endAll(aborted(error.message, 500, 'EngineError'));
    const code = error instanceof VitrineError ? error.code : 'INTERNAL';
    this.#channel.send({ kind: 'fatal', code, message: error.message });
    this.#close(1, engineHangs);
  }

  #hung(): void {
    const limit = this.#options.watchdogTimeout;
    this.#fail(new VitrineError('ENGINE_FAILED', `A step did not end within ${limit} s (--watchdog-timeout).`), true);
  }

  #stop(reason: string): void {
    if (this.#stopped) return;
    this.#endAll(aborted(reason, 503, 'ServiceUnavailable'));
    this.#close(0);
  }

  /** From here on nothing is accepted or computed. */
  #endAll(finish: FinishReason): void {
    this.#stopped = true;
    this.#watchdog.stop();
    for (const request of this.#queues.all()) {
      try {
        this.#outbox.push(this.#outputs.abort(request, finish));
      } catch {
        // The books of the cache are what is broken. The client is told all the same.
        this.#outbox.push({ rid: request.rid, tokenIds: [], finish, cachedTokens: 0, retractions: 0 });
      }
    }
    this.#flush();
  }

  #close(code: number, engineHangs = false): void {
    this.#channel.close();
    // Closing the engine waits for the step it is in: the last messages go out before. One that hangs is left alone.
    setImmediate(() => {
      if (!engineHangs) this.#runner.close();
      this.#resolveClosed(code);
    });
  }
}

// The scheduler of one replica. Event-driven on the rank's JavaScript thread: a message or a finished step wakes it, it
// fills the pipeline (two steps with overlap, else one) and sleeps. While step N + 1 runs, step N's output is processed
// and step N + 2 is built; its decode rows name the slots whose tokens the host does not know yet.
import type { ModelRunner } from '../engine/model-runner.js';
import { describeError, ProfilerSession } from '../engine/profiler/profiler-session.js';
import { type LoadGauges, RankTracer } from '../engine/profiler/rank-tracer.js';
import { flowIdOf } from '../engine/request.js';
import type { ScheduleBatch } from '../engine/schedule-batch.js';
import type { StepOutput } from '../engine/step-output.js';
import { WorkTally } from '../engine/work-tally.js';
import { BlockManager } from '../kv-cache/block-manager.js';
import type { SchedulerChannel, SchedulerMessage } from '../messages/channel.js';
import type { SchedulerState } from '../messages/control.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import type { ProfileEnd, RankProfile } from '../messages/profile.js';
import type { AbortMessage, GenerateMessage } from '../messages/requests.js';
import { StepWork } from '../model/step-work.js';
import type { ModelSpec, NativeAddon } from '../native/addon.js';
import { invariant, toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { aborted } from './admission.js';
import { BatchBuilder } from './batch-builder.js';
import { LoadStats } from './load-stats.js';
import { OutputProcessor } from './output-processor.js';
import { RequestIntake } from './request-intake.js';
import { RequestQueues } from './request-queues.js';
import { StepLog } from './step-log.js';
import { Watchdog } from './watchdog.js';

type ProfilerAddon = Pick<NativeAddon, 'devices' | 'cudaProfilerStart' | 'cudaProfilerStop' | 'rangePush' | 'rangePop'>;

export interface SchedulerDeps {
  readonly runner: ModelRunner;
  readonly spec: ModelSpec;
  readonly eosTokenIds: readonly number[];
  readonly channel: SchedulerChannel;
  readonly log: Log;
  readonly addon: ProfilerAddon;
}

/** How long a profile waits for the front end's last records. */
const FRONT_END_GRACE_MS = 2000;

export class Scheduler {
  /** Resolves with the exit code when the scheduler has stopped for good. */
  readonly closed: Promise<number>;

  readonly #runner: ModelRunner;
  readonly #channel: SchedulerChannel;
  readonly #log: Log;
  readonly #queues: RequestQueues;
  readonly #blocks: BlockManager;
  readonly #stats: LoadStats;
  readonly #work: WorkTally;
  readonly #intake: RequestIntake;
  readonly #builder: BatchBuilder;
  readonly #outputs: OutputProcessor;
  readonly #stepLog: StepLog;
  readonly #watchdog: Watchdog;
  readonly #tracer: RankTracer;
  readonly #profiler: ProfilerSession;
  /** Submitted steps, oldest first, and how many there may be. */
  readonly #inFlight: ScheduleBatch[] = [];
  readonly #depth: number;
  /** A step that was launched while the one before it ran has the device from that one's end on. */
  #lastEndNs = 0n;
  /** Chunks made since the last message. */
  #outbox: TokenChunk[] = [];
  #pumpQueued = false;
  #stopped = false;
  #resolveClosed!: (code: number) => void;

  constructor({ runner, spec, eosTokenIds, channel, log, addon }: SchedulerDeps) {
    const { limits, options } = runner;
    const queues = new RequestQueues(limits.maxRequests);
    const blocks = new BlockManager(limits.numBlocks, limits.blockSize, { prefixCache: !options.disableRadixCache });
    const stats = new LoadStats(options.decodeLogInterval);
    this.#runner = runner;
    this.#channel = channel;
    this.#log = log;
    this.#queues = queues;
    this.#blocks = blocks;
    this.#stats = stats;
    this.#work = new WorkTally(new StepWork(spec));
    this.#intake = new RequestIntake({ queues, limits, options, eosTokenIds });
    this.#builder = new BatchBuilder({ options, queues, blocks, stats, log });
    this.#outputs = new OutputProcessor(queues, blocks);
    this.#stepLog = new StepLog({ log, queues, blocks, stats });
    this.#watchdog = new Watchdog(options.watchdogTimeout, (error) => this.#fail(error, { engineHangs: true }));
    this.#tracer = new RankTracer({
      process: { pid: process.pid, name: 'rank 0', sortIndex: 1 },
      nvtx: options.enableLayerwiseNvtxMarker ? addon : null,
    });
    this.#profiler = new ProfilerSession({
      ranks: { tp: 0 },
      tables: runner.spanTables(),
      devices: [runner.device],
      cuda: addon,
      deviceTracing: runner.deviceTracing,
      tracer: this.#tracer,
      gauges: () => this.#gauges(),
      memory: () => runner.memoryInfo(),
      blockSize: limits.blockSize,
      log,
      onUpdate: (profile) => channel.send({ kind: 'profile-update', profile }),
      frontEndGraceMs: FRONT_END_GRACE_MS,
    });
    this.#depth = options.disableOverlapSchedule ? 1 : 2;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    runner.onStep((error, output) => this.#guarded(() => this.#onStep(error, output)));
    channel.onMessage((message) => this.#guarded(() => this.#onMessage(message)));
    channel.onClose(() => this.#stop('The front end is gone.'));
  }

  // --- the loop ---------------------------------------------------------------------------------------------------

  /** Builds and submits steps until the pipeline is full or there is nothing to compute. */
  #pump(): void {
    while (this.#inFlight.length < this.#depth) {
      this.#profiler.beforeStep(this.#builder.nextStepId);
      const batch = this.#tracer.phase('get_next_batch_to_run', () => this.#builder.next());
      if (batch === null) break;
      this.#tracer.phase('run_batch', () => this.#submit(batch));
    }
    if (this.#inFlight.length === 0) this.#rest();
  }

  #submit(batch: ScheduleBatch): void {
    const { stepId, mode } = batch;
    this.#inFlight.push(batch);
    if (this.#inFlight.length === 1) this.#watchdog.restart();
    this.#runner.submitWritten(this.#builder.writer, stepId, mode, this.#profiler.claim(stepId, mode));
    this.#stepLog.submitted(batch);
  }

  #onStep(error: VitrineError | null, output: StepOutput | null): void {
    if (error !== null) throw error;
    const batch = this.#inFlight.shift();
    invariant(batch !== undefined && batch.stepId === output!.stepId, `step ${output!.stepId} is not the next to end`);
    if (this.#inFlight.length > 0) this.#watchdog.restart();
    else this.#watchdog.stop();
    const { startNs, endNs } = output!;
    const seconds = Number(endNs - (startNs > this.#lastEndNs ? startNs : this.#lastEndNs)) / 1e9;
    this.#lastEndNs = endNs;
    this.#builder.stepDone(batch, seconds);
    this.#work.stepDone(batch, seconds);
    const intervalDone = this.#tracer.phase('process_batch_result', () => {
      const generated = this.#outputs.process(batch, output!, this.#outbox);
      return this.#stats.stepDone(generated, batch.decodeRows > 0);
    });
    this.#pump(); // first: the engine waits for it, the clients can wait
    this.#tracer.phase('send_outputs', () => this.#flush());
    this.#record(batch, output!);
    this.#builder.recycle(batch);
    if (intervalDone) this.#stepLog.decodeInterval();
  }

  /** Gives a recorded step to the profiler. */
  #record(batch: ScheduleBatch, output: StepOutput): void {
    if (!this.#profiler.isRecorded(batch.stepId)) return;
    const { stepId, mode, tokens, cachedTokens, size: batchSize, requests } = batch;
    const waiting = this.#queues.waiting.length;
    const flowIds = requests.map((request) => request.flowId);
    this.#profiler.add({ stepId, mode, batchSize, tokens, cachedTokens, waiting, flowIds, output });
    this.#profiler.settle();
  }

  #gauges(): LoadGauges {
    const { usedBlocks, availableBlocks, freeBlocks, blockSize } = this.#blocks;
    return {
      usedTokens: usedBlocks * blockSize,
      cachedTokens: (availableBlocks - freeBlocks) * blockSize,
      freeTokens: freeBlocks * blockSize,
      running: this.#queues.running.length,
      waiting: this.#queues.waiting.length,
    };
  }

  /** No step is running and none can be built. */
  #rest(): void {
    const { running, waiting } = this.#queues;
    invariant(this.#queues.isEmpty, `nothing to compute with ${running.length} running and ${waiting.length} waiting`);
    this.#stats.idle();
    this.#builder.idle();
    this.#blocks.checkIdle();
  }

  /** Once per turn of the event loop, so that requests which arrive together are scheduled together. */
  #queuePump(): void {
    if (this.#pumpQueued) return;
    this.#pumpQueued = true;
    setImmediate(() => {
      this.#pumpQueued = false;
      this.#guarded(() => this.#pump());
    });
  }

  // --- messages ---------------------------------------------------------------------------------------------------

  #onMessage(message: SchedulerMessage): void {
    switch (message.kind) {
      case 'generate':
        this.#tracer.phase('recv_requests', () => this.#accept(message));
        break;
      case 'abort':
        this.#abort(message);
        break;
      case 'state':
        this.#channel.send({ kind: 'state-result', id: message.id, state: this.state });
        break;
      case 'flush-cache':
        this.#flushCache(message.id);
        break;
      case 'start-profile':
        this.#answerProfile(message.id, this.#profiler.start(message.request));
        break;
      case 'stop-profile':
        this.#answerProfile(message.id, this.#profiler.stop());
        break;
      case 'front-end-spans': {
        const { profileId, pid, processName: name, names, threads, payload } = message;
        const records = new Uint8Array(payload);
        this.#profiler.addFrontEnd(profileId, { pid, name, sortIndex: 0 }, { records, names, threads });
        break;
      }
      case 'front-end-end':
        this.#profiler.endFrontEnd(message.profileId, message.pid, message.stacks);
        break;
      case 'shutdown':
        this.shutdown();
        break;
    }
  }

  #answerProfile(id: number, outcome: Promise<RankProfile>): void {
    outcome.then(
      (profile) => this.#channel.send({ kind: 'profile-result', id, profile, error: null }),
      (thrown) =>
        this.#channel.send({ kind: 'profile-result', id, profile: null, error: describeError(toError(thrown)) }),
    );
  }

  #accept(message: GenerateMessage): void {
    if (this.#queues.isEmpty) this.#stats.busy();
    const refused = this.#intake.accept(message);
    if (refused === null) {
      this.#tracer.requestHere(flowIdOf(message.rid));
      this.#queuePump();
    } else {
      this.#outbox.push(refused);
      this.#flush();
    }
  }

  #abort({ rid, reason }: AbortMessage): void {
    const request = this.#queues.find(rid);
    if (request === undefined) return; // it has just finished
    this.#stats.aborted += 1;
    this.#outbox.push(this.#outputs.abort(request, aborted(reason, 499, 'AbortError')));
    this.#flush();
    this.#queuePump(); // its blocks and slot may let another one in
  }

  #flushCache(id: number): void {
    const flushed = this.#queues.isEmpty; // a step in flight for nobody does no harm
    if (flushed) this.#blocks.clearCache();
    this.#channel.send({ kind: 'flush-cache-result', id, flushed });
  }

  /** One message for everything that a step produced. */
  #flush(): void {
    if (this.#outbox.length === 0) return;
    this.#channel.send({ kind: 'outputs', chunks: this.#outbox });
    this.#outbox = [];
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
      stepWork: this.#work.totals,
      profile: this.#profiler.current,
    };
  }

  /** Throws when the books of the KV cache do not balance; looks at every block. */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity(true);
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  /** Aborts everything with a final chunk and stops with exit code 0. */
  shutdown(): void {
    this.#stop('The server is shutting down.');
  }

  #guarded(work: () => void): void {
    if (this.#stopped) return;
    try {
      work();
    } catch (thrown) {
      this.#fail(toError(thrown));
    }
  }

  /** Engine or scheduler are broken: everyone gets a coded error, and the process ends with 1. */
  #fail(error: Error, { engineHangs = false } = {}): void {
    if (this.#stopped) return;
    this.#log.error({ err: error }, `Fatal: ${error.message}`);
    this.#endAll(aborted(error.message, 500, 'EngineError'));
    const code = error instanceof VitrineError ? error.code : 'INTERNAL';
    this.#channel.send({ kind: 'fatal', code, message: error.message });
    this.#close(1, !engineHangs, 'error');
  }

  #stop(reason: string): void {
    if (this.#stopped) return;
    this.#endAll(aborted(reason, 503, 'ServiceUnavailable'));
    this.#close(0, true, 'shutdown');
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

  #close(code: number, closeEngine: boolean, reason: ProfileEnd): void {
    this.#channel.close();
    // Closing the engine waits for the step it is in: the last messages go out before. One that hangs is left alone.
    setImmediate(() => {
      if (closeEngine) this.#runner.close();
      void this.#profiler.close(reason).then(() => this.#resolveClosed(code));
    });
  }
}

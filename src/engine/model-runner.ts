// A loaded model that runs ForwardBatches: owns the native engine, its weights, its KV cache and the step buffers.
import { profilerDirectory } from '../config/profiler-directory.js';
import type { SchedulerOptions } from '../config/tables/scheduler-options.js';
import { matrixBytes } from '../model/dtype-bytes.js';
import { heldDType } from '../model/held-dtype.js';
import type { PreparedModel } from '../model/prepare-model.js';
import type {
  CacheConfig,
  DeviceInfo,
  MemoryInfo,
  ModelSpec,
  NativeAddon,
  NativeEngine,
  SpanTables,
} from '../native/addon.js';
import { chooseDevice } from '../native/choose-device.js';
import { monotonicSeconds } from '../util/clock.js';
import { hasCode, toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { BufferPool } from './buffer-pool.js';
import { type CudaGraphConfig, cudaGraphConfig } from './cuda-graph-sizes.js';
import { type DeviceOptions, withDeviceOptions } from './device-options.js';
import type { ForwardBatch } from './forward-batch.js';
import { type ForwardMode, LAYOUT_VERSION } from './forward-batch-layout.js';
import { encodeForwardBatch, type ForwardBatchWriter } from './forward-batch-writer.js';
import { checkWeightsFit, kvCacheBlocks, requestSlots, type SizedMemory } from './kv-cache-size.js';
import { GPU_LISTS, type ListLimits, UNBOUNDED_LISTS } from './list-limits.js';
import { loadWeights } from './load-weights.js';
import { warnOfOptionsWithoutEffect } from './options-without-effect.js';
import type { DeviceTracing } from './profiler/gpu-capture.js';
import { writeGraphMap } from './profiler/graph-map.js';
import { StepOutput } from './step-output.js';

export interface RunnerLimits {
  readonly numBlocks: number;
  /** Tokens per block. */
  readonly blockSize: number;
  /** Request slots. */
  readonly maxRequests: number;
  /** Most tokens in one ForwardBatch. */
  readonly maxBatchTokens: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  /** Of each request. */
  readonly lists: ListLimits;
  readonly weightBytes: number;
  readonly kvCacheBytes: number;
  readonly graphBytes: number;
  /** Of the captured CUDA graphs, ascending. */
  readonly graphBatchSizes: readonly number[];
  readonly loadSeconds: number;
}

export interface RunnerDeps {
  readonly addon: NativeAddon;
  readonly model: PreparedModel;
  readonly options: SchedulerOptions;
  readonly log: Log;
  /** The calling thread serves this model alone: it leaves the engine thread's processor to it. Default false. */
  readonly ownThread?: boolean;
}

/** Exactly one of the two is null. */
export type StepListener = (error: VitrineError | null, output: StepOutput | null) => void;

interface PendingStep {
  readonly buffer: ArrayBuffer;
  readonly listener: StepListener;
}

export class ModelRunner {
  readonly limits: RunnerLimits;
  /** Where the model runs. */
  readonly device: DeviceInfo;
  /** As given, with what the device decides decided. */
  readonly options: DeviceOptions;
  readonly #engine: NativeEngine;
  readonly #buffers = new BufferPool();
  /** Steps submitted and not yet done, oldest first. */
  readonly #pending: PendingStep[] = [];
  #listener: StepListener = () => {};
  #closed = false;
  #lastMemory: MemoryInfo | null = null;

  private constructor(deps: RunnerDeps) {
    const { addon, model, log } = deps;
    checkLayout(addon);
    const { device, baseGpuId } = deps.options;
    const { info, cudaLibrary } = chooseDevice({ addon, device, baseGpuId, log });
    this.device = info;
    this.options = withDeviceOptions(deps.options, info);
    const { options } = this;
    warnOfOptionsWithoutEffect(options, info, log);
    if (info.kind === 'cpu') checkCpuIsa(options.cpuIsa, addon);
    checkKvCacheDtype(model.spec, info);
    const started = monotonicSeconds();
    this.#engine = new addon.Engine(
      {
        device: info.kind,
        ...(info.kind === 'cuda' && { cudaLibrary: cudaLibrary!, cudaDevice: info.index }),
        ...{ spec: model.spec, cpuThreads: options.cpuThreads, cpuIsa: options.cpuIsa },
        nvtxMarkers: options.enableLayerwiseNvtxMarker,
      },
      (error, output, spans) => this.#onStep(error, output, spans),
    );
    try {
      const atStart = this.#engine.memoryInfo().availableBytes;
      if (info.kind === 'cuda') checkWeightsFit(storedBytes(model), atStart);
      loadWeights(this.#engine, model.loadPlan, log);
      const memory = { device: info.kind, atStart, now: this.#engine.memoryInfo() };
      const cache = cacheConfig(options, model.contextLength, memory);
      const graphs = cudaGraphConfig(options, info, cache.maxRequests);
      const lists = info.kind === 'cuda' ? GPU_LISTS : UNBOUNDED_LISTS;
      this.#initCache({
        ...cache,
        ...(info.kind === 'cuda' && { maxBiasIds: lists.biasIds, maxRowLogprobs: lists.rowLogprobs }),
        ...{ graphBatchSizes: graphs.batchSizes, captureGraphs: graphs.capture },
      });
      const { weightBytes, kvCacheBytes, graphCount, graphBytes, graphSeconds } = this.#engine.memoryInfo();
      if (graphCount > 0) logGraphs(graphs, { graphCount, graphBytes, graphSeconds }, log);
      const { numBlocks, blockSize, maxRequests, maxBatchTokens, maxContextLength: contextLength } = cache;
      const loadSeconds = monotonicSeconds() - started;
      const { vocabSize } = model.spec;
      this.limits = {
        ...{ numBlocks, blockSize, maxRequests, maxBatchTokens, contextLength, vocabSize, lists },
        ...{ weightBytes, kvCacheBytes, graphBytes, loadSeconds },
        graphBatchSizes: graphs.batchSizes.slice(0, graphCount),
      };
      if (deps.ownThread) this.#engine.keepThreadOff();
    } catch (thrown) {
      this.#engine.close();
      throw thrown;
    }
    logLimits(this.limits, model, log);
    if (options.enableLayerwiseNvtxMarker) void this.#announceGraphs(log);
  }

  /**
   * Loads the weights and allocates the KV cache; blocks until done.
   * Errors: NATIVE_UNAVAILABLE, DEVICE_UNAVAILABLE, OUT_OF_MEMORY, INVALID_OPTION, and what the engine says of broken weight files.
   */
  static create(deps: RunnerDeps): ModelRunner {
    return new ModelRunner(deps);
  }

  /** Queues a step; its result comes to the `onStep` listener, in order. */
  submit(batch: ForwardBatch): void {
    this.#submit(encodeForwardBatch(batch, this.#buffers), this.#listener);
  }

  /** Queues the step that the writer holds, `profile`: with spans; the writer is empty again. */
  submitWritten(writer: ForwardBatchWriter, stepId: number, mode: ForwardMode, profile = false): void {
    this.#submit(writer.finish(stepId, mode, this.#buffers, profile), this.#listener);
  }

  /** Who hears of steps submitted from now on. After an error the engine is dead and every later step reports it too. */
  onStep(listener: StepListener): void {
    this.#listener = listener;
  }

  /** Submits a step and waits for it, for benches and tests. Rejects with ENGINE_FAILED. */
  forward(batch: ForwardBatch): Promise<StepOutput> {
    const buffer = encodeForwardBatch(batch, this.#buffers);
    return new Promise((resolve, reject) => {
      this.#submit(buffer, (error, output) => (error === null ? resolve(output!.withOwnSpans()) : reject(error)));
    });
  }

  /** After close(): what was known then. */
  memoryInfo(): MemoryInfo {
    return this.#lastMemory ?? this.#engine.memoryInfo();
  }

  /** What the records of `StepOutput.spans` refer to. */
  spanTables(): SpanTables {
    return this.#engine.spanTables();
  }

  /** What records the GPU's work in steps; null on the CPU, whose work is that of the engine's threads. */
  get deviceTracing(): DeviceTracing | null {
    return this.device.kind === 'cuda' ? this.#engine : null;
  }

  /** For tools that record the GPU by themselves; an engine without graphs has nothing to tell. */
  async #announceGraphs(log: Log): Promise<void> {
    const graphs = this.#engine.capturedGraphs();
    if (graphs.length === 0) return;
    try {
      const path = await writeGraphMap(profilerDirectory(process.env), graphs);
      log.info(`The ops of the CUDA graphs, node by node: ${path}`);
    } catch (thrown) {
      log.warn(`The ops of the CUDA graphs cannot be written down: ${toError(thrown).message}`);
    }
  }

  /** Waits for the running step and frees everything; steps that are not done report ENGINE_FAILED. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#lastMemory = this.#engine.memoryInfo();
    this.#engine.close();
    const error = new VitrineError('ENGINE_FAILED', 'The engine was closed before the step was done.');
    for (const { listener } of this.#pending.splice(0)) listener(error, null);
  }

  #initCache(cache: CacheConfig): void {
    try {
      this.#engine.initCache(cache);
    } catch (thrown) {
      if (!hasCode(thrown, 'OUT_OF_MEMORY')) throw thrown;
      const { memFractionStatic, chunkedPrefillSize } = this.options;
      const onGpu = this.device.kind === 'cuda';
      throw new VitrineError(
        'OUT_OF_MEMORY',
        `${toError(thrown).message}. Lower --mem-fraction-static (${memFractionStatic} now), --chunked-prefill-size ` +
          `(${chunkedPrefillSize} now)${onGpu ? ',' : ' or'} --max-running-requests (${cache.maxRequests} now)` +
          `${onGpu ? ' or --cuda-graph-max-bs' : ''}.`,
        { param: '--mem-fraction-static', cause: thrown },
      );
    }
  }

  #submit(buffer: ArrayBuffer, listener: StepListener): void {
    if (this.#closed) throw new VitrineError('ENGINE_FAILED', 'The engine is closed.');
    this.#engine.submit(buffer);
    this.#pending.push({ buffer, listener });
  }

  #onStep(error: Error | null, output: ArrayBuffer | null, spans: Uint8Array | null): void {
    const step = this.#pending.shift();
    if (step === undefined) return; // closed meanwhile
    this.#buffers.give(step.buffer);
    if (error === null) step.listener(null, new StepOutput(output!, spans));
    else
      step.listener(new VitrineError('ENGINE_FAILED', `The engine failed: ${error.message}`, { cause: error }), null);
  }
}

function checkLayout(addon: NativeAddon): void {
  const layout = addon.buildInfo().layoutVersion;
  if (layout === LAYOUT_VERSION) return;
  throw new VitrineError(
    'NATIVE_UNAVAILABLE',
    `The native addon speaks step layout ${layout}, this package ${LAYOUT_VERSION}: rebuild it with \`npm rebuild vitrine\`.`,
  );
}

function checkCpuIsa(cpuIsa: string, addon: NativeAddon): void {
  const { cpuIsas } = addon.buildInfo();
  if (cpuIsa === 'auto' || cpuIsas.includes(cpuIsa)) return;
  throw new VitrineError(
    'INVALID_OPTION',
    `--cpu-isa: expected auto, ${cpuIsas.join(' or ')}, which this processor and its system can run, got '${cpuIsa}'`,
    { param: '--cpu-isa' },
  );
}

/** The kernels of a GPU read keys and values in the dtype of the queries, or in 8 bits. */
function checkKvCacheDtype({ dtype, kvCache }: ModelSpec, { kind }: DeviceInfo): void {
  if (kind === 'cpu' || kvCache.dtype === dtype || kvCache.dtype === 'float8_e4m3fn') return;
  throw new VitrineError(
    'INVALID_OPTION',
    `--kv-cache-dtype ${kvCache.dtype}: on a GPU a model in ${dtype} keeps its KV cache in ${dtype} (auto) or in fp8_e4m3; ` +
      `choose one of these, or --dtype ${kvCache.dtype}.`,
    { param: '--kv-cache-dtype' },
  );
}

function cacheConfig(options: DeviceOptions, contextLength: number, memory: SizedMemory): CacheConfig {
  const { pageSize: blockSize, chunkedPrefillSize, maxPrefillTokens } = options;
  const numBlocks = kvCacheBlocks(options, contextLength, memory);
  const maxRequests = requestSlots(options, contextLength, numBlocks, memory.device);
  // Without chunking a prompt of any legal length is one step.
  const prefillTokens = chunkedPrefillSize > 0 ? chunkedPrefillSize : Math.max(maxPrefillTokens, contextLength);
  const maxBatchTokens = Math.min(prefillTokens, numBlocks * blockSize) + maxRequests;
  return { numBlocks, blockSize, maxRequests, maxBatchTokens, maxContextLength: contextLength };
}

/** Bytes of all parameters in the dtypes that they are held in. */
function storedBytes({ spec, loadPlan }: PreparedModel): number {
  return loadPlan.parameters.reduce((sum, { name, rows, cols }) => {
    return sum + matrixBytes(heldDType(spec, name), rows, cols);
  }, 0);
}

function logGraphs(
  { batchSizes }: CudaGraphConfig,
  cost: Pick<MemoryInfo, 'graphCount' | 'graphBytes' | 'graphSeconds'>,
  log: Log,
): void {
  const { graphCount, graphBytes, graphSeconds } = cost;
  log.info(
    `Captured ${graphCount} CUDA graphs for decode batches of ${batchSizes.slice(0, graphCount).join(' ')} in ` +
      `${graphSeconds.toFixed(2)} s, ${(graphBytes / 2 ** 20).toFixed(1)} MiB`,
  );
}

function logLimits(limits: RunnerLimits, { spec: { kvCache }, quantization }: PreparedModel, log: Log): void {
  const tokens = limits.numBlocks * limits.blockSize;
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  log.info(
    `Model loaded in ${limits.loadSeconds.toFixed(2)} s: weights ${mib(limits.weightBytes)} MiB${quantization === null ? '' : ` (${quantization})`}, ` +
      `KV cache ${mib(limits.kvCacheBytes)} MiB of ${kvCache.dtype} for ${tokens} tokens (${limits.numBlocks} pages of ${limits.blockSize})`,
  );
  if (kvCache.dtype === 'float8_e4m3fn' && kvCache.scales.length === 0) {
    log.warn(
      'The checkpoint has no scales (k_scale, v_scale) for a KV cache of 8 bits: keys and values are kept unscaled.',
    );
  }
  if (tokens < limits.contextLength) {
    log.warn(`The KV cache holds ${tokens} tokens, less than one full context of ${limits.contextLength} tokens.`);
  }
}

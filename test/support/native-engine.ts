// A real native engine for tests: one reference model, its steps as promises.
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import type { CacheConfig, EngineConfig, NativeEngine, WeightOrigin } from '#vitrine/native/addon.js';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel } from '../reference/reference-files.js';
import { type RawBatchOptions, type RawRequest, RawStepOutput, rawForwardBatch } from './raw-forward-batch.js';

export type EngineSettings = Partial<
  CacheConfig & Pick<EngineConfig, 'device' | 'cudaLibrary' | 'cpuThreads' | 'cpuIsa' | 'nvtxMarkers'>
>;

const SMALL_CACHE: CacheConfig = {
  numBlocks: 256,
  blockSize: 16,
  maxRequests: 40,
  maxBatchTokens: 512,
  maxContextLength: 256,
};

interface Waiter {
  readonly resolve: (output: RawStepOutput) => void;
  readonly reject: (error: Error) => void;
}

export class TestEngine {
  readonly engine: NativeEngine;
  /** Of its weights. */
  readonly origin: WeightOrigin;
  readonly blockSize: number;
  readonly #waiters: Waiter[] = [];

  constructor(model: PreparedModel, settings: EngineSettings = {}) {
    const { device = 'cpu', cudaLibrary, cpuThreads = 2, cpuIsa = 'auto', nvtxMarkers = false, ...cache } = settings;
    const config: EngineConfig = {
      ...{ device, spec: model.spec, cpuThreads, cpuIsa, nvtxMarkers },
      ...(cudaLibrary !== undefined && { cudaLibrary, cudaDevice: 0 }),
    };
    this.blockSize = cache.blockSize ?? SMALL_CACHE.blockSize;
    this.engine = new (loadAddon().Engine)(config, (error, output, spans) => {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) throw new Error('onStep was called for a step that nobody submitted');
      if (output !== null) waiter.resolve(new RawStepOutput(output, spans === null ? null : spans.slice().buffer));
      else waiter.reject(error ?? new Error('onStep got neither error nor output'));
    });
    this.origin = this.engine.loadWeights(model.loadPlan);
    this.engine.initCache({ ...SMALL_CACHE, ...cache });
  }

  /** The model in float32, as its reference was computed. */
  static async load(name: string, settings: EngineSettings = {}): Promise<TestEngine> {
    return new TestEngine(await prepareReferenceModel(name, { dtype: 'float32' }), settings);
  }

  submit(buffer: ArrayBuffer): Promise<RawStepOutput> {
    const result = new Promise<RawStepOutput>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    this.engine.submit(buffer);
    return result;
  }

  step(requests: readonly RawRequest[], options: Partial<RawBatchOptions> = {}): Promise<RawStepOutput> {
    return this.submit(rawForwardBatch(requests, { blockSize: this.blockSize, ...options }));
  }

  /** Blocks of sequence number `index`, when each gets room for `tokens`; deliberately not in order. */
  blocksFor(index: number, tokens: number): number[] {
    const count = Math.ceil(tokens / this.blockSize);
    return Array.from({ length: count }, (_, i) => index * count + count - 1 - i);
  }

  close(): void {
    this.engine.close();
  }
}

/** A sequence that grows step by step in one request slot. */
export class TestSequence {
  readonly slot: number;
  readonly blocks: readonly number[];
  length = 0;

  constructor(slot: number, blocks: readonly number[]) {
    this.slot = slot;
    this.blocks = blocks;
  }

  /** The next tokens of it, as part of a batch. */
  next(tokens: readonly number[], part: Partial<RawRequest> = {}): RawRequest {
    const start = this.length;
    this.length += tokens.length;
    const flags = (part.flags ?? 0) | (start === 0 ? REQUEST_FLAG.resetSlot : 0);
    return { slot: this.slot, blocks: this.blocks, start, tokens, ...part, flags };
  }

  /** Decodes the token that was sampled last. */
  decode(part: Partial<RawRequest> = {}): RawRequest {
    return this.next([-(this.slot + 1)], part);
  }
}

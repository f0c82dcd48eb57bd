// A NativeAddon in TypeScript with the same functions as the real one, for tests of everything above it. It keeps what
// each token stored in KV slots and reads it back through the block tables: a wrong table, a block used too early, a
// wrong position or a lost token changes the output. The buffers are checked as strictly as the native engine does.
import type { RowSampling } from '#vitrine/engine/forward-batch.js';
import {
  DIRECTORY_START,
  HEADER_WORDS,
  LAYOUT_VERSION,
  PROFILE_STEP,
  REQUEST_FLAG,
  STEP_OUTPUT_HEADER,
  STEP_OUTPUT_MAGIC,
  STEP_OUTPUT_SECTIONS,
  type StepOutputSection,
} from '#vitrine/engine/forward-batch-layout.js';
import { decodeForwardBatch, viewForwardBatch } from '#vitrine/engine/forward-batch-view.js';
import { StepOutput } from '#vitrine/engine/step-output.js';
import type {
  BuildInfo,
  CacheConfig,
  CapturedGraph,
  CudaDeviceInfo,
  DeviceTraceBatch,
  DeviceTraceStep,
  EngineConfig,
  LoadPlan,
  MachineLimits,
  MemoryInfo,
  NativeAddon,
  NativeEngine,
  SpanTables,
  StepCallback,
  WeightOrigin,
} from '#vitrine/native/addon.js';
import {
  CATEGORY_ID,
  CHUNK_HEADER,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  RECORD_BYTES,
  RECORD_KIND,
  RECORD_OFFSET,
  SPAN_LAYOUT_VERSION,
} from '#vitrine/trace/record/span-layout.js';
import { attend, FAKE_VOCAB_SIZE, logitsOf, logSoftmax, nextState, sampleToken, topIds } from './fake-model.js';
import { rawChunk } from './span-chunks.js';

export interface FakeEngineOptions {
  /** Milliseconds that a step takes, and says it took; 0 (default): it is done in a later turn of the event loop. */
  readonly stepMs?: (stepNumber: number, tokens: number) => number;
  /** This step (from 1) and all later ones fail. */
  readonly failAtStep?: number;
  /** This step (from 1) never ends. */
  readonly hangAtStep?: number;
  /** Before the weights are loaded, and after. */
  readonly availableBytes?: number;
  readonly availableBytesLoaded?: number;
  /** The machine has one GPU of so many bytes. */
  readonly gpuBytes?: number;
  /** What initCache says of memory that is not there. */
  readonly outOfMemory?: string;
  readonly kvBytesPerToken?: number;
  readonly layoutVersion?: number;
  /** There is a GPU, and it tells of its work, or this is why not, from the start or from the first step on. */
  readonly gpu?: { readonly problem?: string; readonly failure?: string };
  /** Sees every step that was run. */
  readonly onStep?: (step: FakeStep) => void;
}

/** What a step was made of, for tests that look at scheduling. */
export interface FakeStep {
  readonly number: number;
  readonly numTokens: number;
  readonly numRequests: number;
  /** Tokens of each request. */
  readonly counts: readonly number[];
  /** Steps submitted and not done when this one began, itself included. */
  readonly queued: number;
}

interface Slot {
  lastSampled: number | null;
  history: number[];
}

class FakeEngine implements NativeEngine {
  readonly #options: FakeEngineOptions;
  readonly #onStep: StepCallback;
  readonly #queue: ArrayBuffer[] = [];
  #cache: CacheConfig | null = null;
  /** Per KV slot, 0 = never written. */
  #states = new Int32Array(0);
  #slots: Slot[] = [];
  #steps = 0;
  #dead: string | null = null;
  #endedNs = 0n;
  #running: NodeJS.Timeout | NodeJS.Immediate | null = null;
  #loaded = false;
  /** Work of the GPU that was not told yet; null: nobody wants to know. */
  #deviceSteps: DeviceTraceStep[] | null = null;
  #deviceTablesTold = false;
  closed = false;

  constructor(options: FakeEngineOptions, _config: EngineConfig, onStep: StepCallback) {
    this.#options = options;
    this.#onStep = onStep;
  }

  loadWeights(_plan: LoadPlan): WeightOrigin {
    if (this.#loaded) throw new Error('loadWeights: the weights are loaded already');
    this.#loaded = true;
    return { place: 'memory', path: '', problem: '' };
  }

  initCache(config: CacheConfig): void {
    if (!this.#loaded || this.#cache !== null) throw new Error('initCache: once, after loadWeights');
    const { outOfMemory } = this.#options;
    if (outOfMemory !== undefined) throw Object.assign(new Error(outOfMemory), { code: 'OUT_OF_MEMORY' });
    this.#cache = config;
    this.#states = new Int32Array(config.numBlocks * config.blockSize);
    this.#slots = Array.from({ length: config.maxRequests }, () => ({ lastSampled: null, history: [] }));
  }

  submit(batch: ArrayBuffer): void {
    if (this.closed || this.#cache === null) throw new Error('submit: the engine is closed or has no cache');
    this.#queue.push(batch);
    this.#startNext();
  }

  memoryInfo(): MemoryInfo {
    if (this.closed) throw new Error('memoryInfo: the engine is closed');
    const { kvBytesPerToken = 64, availableBytes, availableBytesLoaded } = this.#options;
    const tokens = this.#cache === null ? 0 : this.#cache.numBlocks * this.#cache.blockSize;
    return {
      weightBytes: 1000,
      kvCacheBytes: tokens * kvBytesPerToken,
      workspaceBytes: 0,
      kvBytesPerToken,
      availableBytes: (this.#loaded ? availableBytesLoaded : undefined) ?? availableBytes ?? 2 ** 30,
      residentBytes: 0,
      graphCount: 0,
      graphBytes: 0,
      graphSeconds: 0,
    };
  }

  spanTables(): SpanTables {
    return { names: ['fake_op'], threads: [{ tid: FAKE_ENGINE_TID, name: 'fake engine' }] };
  }

  keepThreadOff(): void {}

  capturedGraphs(): CapturedGraph[] {
    return [];
  }

  checkDeviceTrace(): void {
    const { gpu } = this.#options;
    if (gpu === undefined) throw new Error('the fake has no GPU');
    if (gpu.problem !== undefined) throw new Error(gpu.problem);
  }

  startDeviceTrace(): void {
    this.checkDeviceTrace();
    this.#deviceSteps = [];
    this.#deviceTablesTold = false;
  }

  /** Late: the last two steps are kept back. */
  takeDeviceTrace(): DeviceTraceBatch {
    this.#checkDeviceBuffers();
    return this.#deviceBatch(this.#deviceSteps!.splice(0, Math.max(0, this.#deviceSteps!.length - 2)));
  }

  finishDeviceTrace(): DeviceTraceBatch {
    this.#checkDeviceBuffers();
    return this.#deviceBatch(this.#deviceSteps!.splice(0));
  }

  #checkDeviceBuffers(): void {
    const failure = this.#options.gpu?.failure;
    if (failure !== undefined) throw new Error(failure);
  }

  stopDeviceTrace(): void {
    this.#deviceSteps = null;
  }

  #deviceBatch(steps: readonly DeviceTraceStep[]): DeviceTraceBatch {
    const fresh = steps.length > 0 && !this.#deviceTablesTold;
    this.#deviceTablesTold ||= fresh;
    const none = { names: [], threads: [] };
    const { host, device } = FAKE_DEVICE_TABLES;
    return { device: 1, hostTables: fresh ? host : none, deviceTables: fresh ? device : none, steps };
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#queue.length = 0;
    if (this.#running !== null) {
      clearTimeout(this.#running as NodeJS.Timeout);
      clearImmediate(this.#running as NodeJS.Immediate);
    }
  }

  #startNext(): void {
    if (this.#running !== null || this.#queue.length === 0) return;
    const number = this.#steps + 1;
    if (number === this.#options.hangAtStep) return;
    const ms = this.#options.stepMs?.(number, viewForwardBatch(this.#queue[0]!).header('numTokens')) ?? 0;
    const run = () => {
      this.#running = null;
      this.#runNext(ms);
    };
    this.#running = ms > 0 ? setTimeout(run, ms) : setImmediate(run);
  }

  #runNext(ms: number): void {
    this.#steps += 1;
    const queued = this.#queue.length;
    const batch = this.#queue.shift()!;
    let output: ArrayBuffer | null = null;
    // Timers may be early by a fraction of a millisecond: steps must not overlap all the same.
    const wished = process.hrtime.bigint() - BigInt(Math.round(ms * 1e6));
    const begunNs = wished > this.#endedNs ? wished : this.#endedNs;
    try {
      if (this.#dead === null && this.#steps === this.#options.failAtStep) throw new Error('told to fail');
      if (this.#dead === null) output = this.#run(batch, queued, begunNs);
    } catch (thrown) {
      this.#dead = (thrown as Error).message;
    }
    this.#endedNs = process.hrtime.bigint();
    this.#startNext();
    const profiled = output !== null && viewForwardBatch(batch).header('profile') === PROFILE_STEP.record;
    if (profiled && this.#deviceSteps !== null) {
      const { stepId, endNs } = new StepOutput(output!);
      this.#deviceSteps.push(fakeDeviceStep(stepId, begunNs, endNs));
    }
    if (output === null) this.#onStep(new Error(this.#dead!), null, null);
    else this.#onStep(null, output, profiled ? fakeSpans(begunNs, new StepOutput(output).endNs) : null);
  }

  #run(buffer: ArrayBuffer, queued: number, begunNs: bigint): ArrayBuffer {
    this.#check(buffer);
    const batch = decodeForwardBatch(buffer);
    const { blockSize } = this.#cache!;
    const seen = new Set<number>();
    for (const request of batch.requests) {
      if (seen.has(request.slot)) throw new Error(`slot ${request.slot} appears twice`);
      seen.add(request.slot);
      if ((request.flags & REQUEST_FLAG.resetSlot) !== 0) {
        this.#slots[request.slot] = { lastSampled: null, history: [...(request.history as number[])] };
      }
    }
    // As in a layer: K and V of all tokens first, then attention.
    const written = new Set<number>();
    for (const { tokenIds, firstPosition, blocks } of batch.requests) {
      const slotOf = (position: number) =>
        blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
      for (let i = 0; i < tokenIds.length; i++) {
        const position = firstPosition + i;
        const slot = slotOf(position);
        if (written.has(slot)) throw new Error(`KV slot ${slot} is written twice in one step`);
        written.add(slot);
        const previous = position === 0 ? 0 : this.#states[slotOf(position - 1)]!;
        this.#states[slot] = nextState(previous, this.#resolve(tokenIds[i]!), position);
      }
    }
    const output = new FakeOutput(batch.stepId);
    for (const request of batch.requests) {
      const { tokenIds, firstPosition, blocks, slot, sampling, scored, scoredFrom, sample, flags, bias } = request;
      const digests: number[] = [];
      let digest = 0;
      for (let position = 0; position < firstPosition + tokenIds.length; position++) {
        digest = attend(
          digest,
          this.#states[blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize)]!,
        );
        if (position >= firstPosition) digests.push(digest);
      }
      for (let i = 0; i < scored.length; i++) {
        output.addRow(logitsOf(digests[scoredFrom + i]!), scored[i]!, sampling, flags);
      }
      if (!sample) {
        output.sampledIds.push(-1);
        continue;
      }
      const logits = logitsOf(digests.at(-1)!);
      const state = this.#slots[slot]!;
      const token = sampleToken(logits, sampling, bias, state.history, firstPosition + tokenIds.length);
      state.lastSampled = token;
      if ((flags & REQUEST_FLAG.trackHistory) !== 0) state.history.push(token);
      output.sampledIds.push(token);
      output.addRow(logits, token, sampling, flags);
    }
    const counts = batch.requests.map((request) => request.tokenIds.length);
    const numTokens = counts.reduce((sum, count) => sum + count, 0);
    this.#options.onStep?.({ number: this.#steps, numTokens, numRequests: batch.requests.length, counts, queued });
    return output.encode(begunNs);
  }

  #resolve(id: number): number {
    if (id >= 0) return id;
    const token = this.#slots[-(id + 1)]!.lastSampled;
    if (token === null) throw new Error(`nothing was sampled in slot ${-(id + 1)}`);
    return token;
  }

  /** The checks of the native engine. */
  #check(buffer: ArrayBuffer): void {
    const { numBlocks, blockSize, maxRequests, maxBatchTokens, maxContextLength } = this.#cache!;
    const expect = (ok: boolean, what: string) => {
      if (!ok) throw new Error(`bad ForwardBatch: ${what}`);
    };
    const view = viewForwardBatch(buffer);
    const numTokens = view.header('numTokens');
    const numRequests = view.header('numRequests');
    expect(view.header('totalWords') * 4 === buffer.byteLength, 'totalWords');
    expect(numTokens >= 1 && numTokens <= maxBatchTokens, `numTokens ${numTokens} of at most ${maxBatchTokens}`);
    expect(numRequests >= 1 && numRequests <= maxRequests, `numRequests ${numRequests}`);
    expect(view.header('blockSize') === blockSize, 'blockSize');
    for (const name of ['tokenIds', 'positions', 'kvSlots'] as const)
      expect(view.ints(name).length === numTokens, name);
    for (const name of ['temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'topLogprobs'] as const) {
      expect([0, numRequests].includes(view.ints(name).length), name);
    }
    expect([0, 2 * numRequests].includes(view.ints('seeds').length), 'seeds');
    for (const id of view.ints('tokenIds')) expect(id >= -maxRequests && id < FAKE_VOCAB_SIZE, `token id ${id}`);
    for (const name of ['biasIds', 'historyIds', 'watchIds'] as const) {
      for (const id of view.ints(name)) expect(id >= 0 && id < FAKE_VOCAB_SIZE, `${name} ${id}`);
    }
    for (const id of view.ints('blocks')) expect(id >= 0 && id < numBlocks, `block ${id}`);
    const starts = view.ints('queryStart');
    const positions = view.ints('positions');
    const kvSlots = view.ints('kvSlots');
    const seqLens = view.ints('seqLens');
    expect(
      starts[numRequests] === numTokens && view.ints('blockStart')[numRequests] === view.ints('blocks').length,
      'CSR',
    );
    for (let r = 0; r < numRequests; r++) {
      const table = view.intRow('blockStart', 'blocks', r);
      expect(starts[r + 1]! > starts[r]!, `queryStart of ${r}`);
      expect(seqLens[r]! <= maxContextLength && seqLens[r]! <= table.length * blockSize, `seqLens ${seqLens[r]}`);
      expect(new Set(table).size === table.length, `a block twice in the table of request ${r}`);
      let position = seqLens[r]! - (starts[r + 1]! - starts[r]!);
      for (let t = starts[r]!; t < starts[r + 1]!; t++, position++) {
        expect(positions[t] === position, `position of token ${t}`);
        const slot = table[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
        expect(kvSlots[t] === slot, `kvSlot of token ${t}`);
      }
    }
    const rowTokens = view.ints('rowTokens');
    const rowRequests = view.ints('rowRequests');
    for (let i = 0; i < rowTokens.length; i++) {
      expect(i === 0 || rowTokens[i]! > rowTokens[i - 1]!, 'rowTokens ascend');
      const request = rowRequests[i]!;
      expect(rowTokens[i]! >= starts[request]! && rowTokens[i]! < starts[request + 1]!, `rowRequests of row ${i}`);
    }
  }
}

const FAKE_ENGINE_TID = 999_999;
const FAKE_GPU: CudaDeviceInfo = {
  ...{ kind: 'cuda', index: 0, name: 'Fake GPU', computeCapability: '9.0', multiprocessors: 132 },
  ...{ driverVersion: 13000, runtimeVersion: 13000, totalBytes: 2 ** 36 },
};

/** One cpu_op that fills the step: a chunk of trace/record/span-layout.ts. */
function fakeSpans(begunNs: bigint, endedNs: bigint): Uint8Array {
  const chunk = new ArrayBuffer(CHUNK_HEADER_BYTES + RECORD_BYTES);
  const view = new DataView(chunk);
  view.setUint32(CHUNK_HEADER.magic, CHUNK_MAGIC, true);
  view.setUint32(CHUNK_HEADER.version, SPAN_LAYOUT_VERSION, true);
  view.setBigInt64(CHUNK_HEADER.baseNs, begunNs, true);
  const at = CHUNK_HEADER_BYTES;
  view.setUint8(at + RECORD_OFFSET.kind, RECORD_KIND.span);
  view.setUint8(at + RECORD_OFFSET.category, CATEGORY_ID.cpuOp);
  view.setBigInt64(at + RECORD_OFFSET.begin, 1n, true);
  view.setBigInt64(at + RECORD_OFFSET.end, endedNs - begunNs - 1n, true);
  view.setInt16(at + RECORD_OFFSET.layer, -1, true);
  return new Uint8Array(chunk);
}

const FAKE_DEVICE_TABLES = {
  host: { names: ['cudaLaunchKernel', 'ac2g'], threads: [{ tid: FAKE_ENGINE_TID, name: 'fake engine' }] },
  device: { names: ['fake_kernel', 'ac2g', 'mlp', 'model.layers.2.mlp'], threads: [{ tid: 7, name: 'stream 7' }] },
};

/** A call and the kernel that it queued, which ends with the step. */
function fakeDeviceStep(stepId: number, begunNs: bigint, endedNs: bigint): DeviceTraceStep {
  const id = BigInt(stepId);
  const float = (value: number) => new Int32Array(Float32Array.of(value).buffer)[0]!;
  const at = { begin: 20n, end: 30n, id };
  const ran = { begin: 40n, end: endedNs - begunNs, id };
  return {
    stepId,
    host: rawChunk({
      baseNs: begunNs,
      records: [
        { ...at, category: 'cudaRuntime' },
        { ...at, kind: 'flowStart', category: 'ac2g', name: 1 },
      ],
    }).records,
    device: rawChunk({
      baseNs: begunNs,
      records: [
        { ...ran, category: 'kernel', schema: 'gpuPlace', layer: 2, words: [1, 1, 7, 32, 0, float(2), float(6)] },
        { kind: 'more', category: 'kernel', schema: 'gpuLaunch', words: [8, 1, 1, 96, 1, 1] },
        { kind: 'more', category: 'kernel', schema: 'gpuOp', words: [2, 3] },
        { kind: 'more', category: 'kernel', schema: 'gpuRates', words: [float(1500.25), float(3.5)] },
        { ...ran, end: ran.begin, kind: 'flowEnd', category: 'ac2g', name: 1 },
      ],
    }).records,
  };
}

/** Collects the sections of a StepOutput. */
class FakeOutput {
  readonly sampledIds: number[] = [];
  readonly #rowLogprobs: number[] = [];
  readonly #topStart = [0];
  readonly #topIds: number[] = [];
  readonly #topLogprobs: number[] = [];
  readonly #watchStart = [0];
  readonly #watchLogprobs: number[] = [];
  readonly #logitStart = [0];
  readonly #logits: number[] = [];

  constructor(private readonly stepId: number) {}

  addRow(logits: Float64Array, target: number, sampling: RowSampling, flags: number): void {
    if ((flags & REQUEST_FLAG.returnLogprob) !== 0) {
      const values = logSoftmax(logits);
      this.#rowLogprobs.push(values[target]!);
      for (const id of topIds(values, sampling.topLogprobs)) {
        this.#topIds.push(id);
        this.#topLogprobs.push(values[id]!);
      }
      for (const id of Array.from(sampling.watchIds)) this.#watchLogprobs.push(values[id]!);
    } else {
      this.#rowLogprobs.push(Number.NaN);
    }
    if ((flags & REQUEST_FLAG.returnLogits) !== 0) this.#logits.push(...logits);
    this.#topStart.push(this.#topIds.length);
    this.#watchStart.push(this.#watchLogprobs.length);
    this.#logitStart.push(this.#logits.length);
  }

  encode(begunNs: bigint): ArrayBuffer {
    const sections: Record<StepOutputSection, readonly number[]> = {
      sampledIds: this.sampledIds,
      rowLogprobs: this.#rowLogprobs,
      topStart: this.#topStart,
      topIds: this.#topIds,
      topLogprobs: this.#topLogprobs,
      watchStart: this.#watchStart,
      watchLogprobs: this.#watchLogprobs,
      logitStart: this.#logitStart,
      logits: this.#logits,
    };
    const total = STEP_OUTPUT_SECTIONS.reduce((sum, { name }) => sum + sections[name].length, HEADER_WORDS);
    const buffer = new ArrayBuffer(4 * total);
    const words = new Int32Array(buffer);
    const floats = new Float32Array(buffer);
    const now = process.hrtime.bigint();
    const header: Record<(typeof STEP_OUTPUT_HEADER)[number], number> = {
      magic: STEP_OUTPUT_MAGIC,
      version: LAYOUT_VERSION,
      totalWords: total,
      stepId: this.stepId,
      numRequests: this.sampledIds.length,
      numLogitRows: this.#rowLogprobs.length,
      vocabSize: FAKE_VOCAB_SIZE,
      startNsLow: Number(begunNs & 0xffffffffn),
      startNsHigh: Number(begunNs >> 32n),
      launchedNsLow: Number(now & 0xffffffffn),
      launchedNsHigh: Number(now >> 32n),
      endNsLow: Number(now & 0xffffffffn),
      endNsHigh: Number(now >> 32n),
    };
    STEP_OUTPUT_HEADER.forEach((name, i) => {
      words[i] = header[name];
    });
    let offset = HEADER_WORDS;
    STEP_OUTPUT_SECTIONS.forEach(({ name, type }, i) => {
      words[DIRECTORY_START + 2 * i] = offset;
      words[DIRECTORY_START + 2 * i + 1] = sections[name].length;
      (type === 'f32' ? floats : words).set(sections[name], offset);
      offset += sections[name].length;
    });
    return buffer;
  }
}

/** An addon whose engines run the fake model. */
export function createFakeAddon(options: FakeEngineOptions = {}): NativeAddon {
  const build: BuildInfo = {
    version: '0.0.0',
    compiler: 'none',
    buildType: 'fake',
    sanitizer: '',
    layoutVersion: options.layoutVersion ?? LAYOUT_VERSION,
    cudaAbiVersion: 1,
    cpuIsas: ['avx2'],
  };
  const limits: MachineLimits = {
    threads: 1,
    readBytesPerSecond: 1e9,
    float32FlopsPerSecond: 1e9,
    bfloat16FlopsPerSecond: 0,
  };
  return {
    buildInfo: () => build,
    devices: () => [{ kind: 'cpu', name: 'fake', threads: 1, totalBytes: 2 ** 30 }],
    cudaDevices: () => {
      if (options.gpu === undefined && options.gpuBytes === undefined) throw new Error('the fake has no GPU');
      return [{ ...FAKE_GPU, totalBytes: options.gpuBytes ?? FAKE_GPU.totalBytes }];
    },
    machineLimits: () => limits,
    setIdlePriority: () => false,
    giveWay: () => {},
    rangePush: () => {},
    rangePop: () => {},
    cudaProfilerStart: () => {
      throw new Error('cudaProfilerStart: the fake has no CUDA');
    },
    cudaProfilerStop: () => {
      throw new Error('cudaProfilerStop: the fake has no CUDA');
    },
    Engine: class extends FakeEngine {
      constructor(config: EngineConfig, onStep: StepCallback) {
        super(options, config, onStep);
      }
    },
  };
}

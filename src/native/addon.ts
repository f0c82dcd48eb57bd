// The whole boundary between TypeScript and C++, on one page. Plain objects cross at start-up only; each step is one
// ArrayBuffer down (ForwardBatch) and one up (StepOutput), laid out by engine/forward-batch-layout.ts.
// C++ checks every field at the door and reports a bad one by its path.

export type DType = 'float32' | 'float16' | 'bfloat16';

/** What weights may be stored and held in. */
export type StoredDType = DType | 'float8_e4m3fn';

/** Of keys and values: on a GPU the model's own dtype, or float8_e4m3fn. */
export type KvCacheDType = StoredDType;

/** Of a layer: its keys and values are kept divided by them. Positive. */
export interface KvScales {
  readonly k: number;
  readonly v: number;
}

export interface KvCacheSpec {
  readonly dtype: KvCacheDType;
  /** One entry a layer, for float8_e4m3fn alone; empty: 1. */
  readonly scales: readonly KvScales[];
}

/** Rotary embedding of the first `rotaryDim` channels of each head, in the half-split ("NeoX") order of Hugging Face. */
export interface RopeSpec {
  readonly rotaryDim: number;
  /** rotaryDim / 2 inverse frequencies, scaling already applied. */
  readonly invFreq: readonly number[];
  /** cos and sin are multiplied by it (yarn); 1 otherwise. */
  readonly attentionFactor: number;
  /**
   * Dynamic NTK: position p >= originalMaxPositions uses the base
   * theta * (factor * (p + 1) / originalMaxPositions - (factor - 1)) ^ (rotaryDim / (rotaryDim - 2)).
   */
  readonly dynamicNtk: {
    readonly theta: number;
    readonly factor: number;
    readonly originalMaxPositions: number;
  } | null;
}

export interface MoeSpec {
  readonly numExperts: number;
  readonly topK: number;
  /** Divide the top-k routing weights (softmax over all experts) by their sum. */
  readonly normTopkProb: boolean;
  readonly intermediateSize: number;
  /** What the model's own code calls the block, `mlp` or `block_sparse_moe`: its name in traces. */
  readonly module: string;
}

/** Matrices of a layer, as ParameterPlan names them, that may be held in float8_e4m3fn. */
export type Float8Linear = 'qkv_proj' | 'o_proj' | 'gate_up_proj' | 'down_proj';

export interface LayerSpec {
  /** Tokens a query sees, itself included; 0 = all before it. */
  readonly slidingWindow: number;
  /** null: dense gated MLP of `intermediateSize`. */
  readonly moe: MoeSpec | null;
  /**
   * Held in float8_e4m3fn with a float32 scale for each row, and multiplied by activations that are quantized likewise, for
   * each token; other matrices are held in the model's dtype. Not of experts. Default: none.
   */
  readonly float8?: readonly Float8Linear[];
}

/** A decoder-only transformer as data; one native loop runs every spec. */
export interface ModelSpec {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Of dense layers. */
  readonly intermediateSize: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  /** Attention scores are multiplied by it; normally headDim ** -0.5. */
  readonly attentionScale: number;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm of each q and k head before rope (Qwen3). */
  readonly qkNorm: boolean;
  readonly activation: 'silu' | 'gelu' | 'gelu_tanh';
  readonly tieWordEmbeddings: boolean;
  readonly rope: RopeSpec;
  readonly layers: readonly LayerSpec[];
  /** Weights, but for LayerSpec.float8, are held in it; sums are always float32. */
  readonly dtype: DType;
  readonly kvCache: KvCacheSpec;
}

/** Rows of one stored tensor that become the next rows of a parameter. */
export interface TensorPiece {
  /** Index into LoadPlan.files; -1: dummy weights, no bytes behind it. */
  readonly file: number;
  /** Byte offset in the file. */
  readonly offset: number;
  readonly dtype: StoredDType;
  readonly rows: number;
  /** The checkpoint's name of the tensor, for messages. */
  readonly source: string;
  /** Of float8: `count` factors, one for all rows or one for each. */
  readonly scales?: {
    readonly file: number;
    readonly offset: number;
    readonly dtype: DType;
    readonly count: number;
    readonly source: string;
  };
}

/**
 * One parameter of the native model: its pieces stacked along rows. A vector is one column wide: shape [n, 1].
 *
 * Names and shapes [rows, cols] (H query heads, K kv heads, D headDim, I intermediate, E experts):
 *   embed_tokens [vocab, hidden]; norm [hidden, 1]; lm_head [vocab, hidden] (absent when tied)
 *   layers.N.input_norm, layers.N.post_attention_norm [hidden, 1]
 *   layers.N.qkv_proj [(H + 2K) * D, hidden], layers.N.qkv_bias [(H + 2K) * D, 1]
 *   layers.N.q_norm, layers.N.k_norm [D, 1]
 *   layers.N.o_proj [hidden, H * D], layers.N.o_bias [hidden, 1]
 *   layers.N.gate_up_proj [2I, hidden] (gate rows first), layers.N.gate_up_bias [2I, 1]
 *   layers.N.down_proj [hidden, I], layers.N.down_bias [hidden, 1]
 *   layers.N.router [E, hidden]; layers.N.experts.X.gate_up_proj, layers.N.experts.X.down_proj
 */
export interface ParameterPlan {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly pieces: readonly TensorPiece[];
}

export interface LoadPlan {
  /** Memory-mapped; `bytes` is the size seen when the headers were checked. */
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly parameters: readonly ParameterPlan[];
  /** Dummy pieces are filled with N(0, 0.02) from it (norm weights with 1). */
  readonly dummySeed: number;
  /** Default: the weights are packed into memory of this process. */
  readonly cache?: WeightCachePlan;
}

/** Packed weights are mapped from a file, shared by all processes that do, and written to it by the first of them. */
export interface WeightCachePlan {
  /** Must be there. */
  readonly directory: string;
  /** Stands for all that decides the weights' numbers; part of the file's name. */
  readonly identity: string;
  /** For another process that writes the file, rather than throw an Error with the code WEIGHT_CACHE_LOCKED. Default true. */
  readonly wait?: boolean;
}

export interface WeightOrigin {
  readonly place: 'memory' | 'mapped' | 'written';
  /** Of the cache file; '' for 'memory'. */
  readonly path: string;
  /** Why a cache could not be used ('memory'), or what was wrong with the file that was replaced ('written'); else ''. */
  readonly problem: string;
}

export interface EngineConfig {
  readonly device: 'cpu' | 'cuda';
  /** Path of libvitrine_cuda.so; of device 'cuda' alone. */
  readonly cudaLibrary?: string;
  /** CudaDeviceInfo.index; of device 'cuda' alone. */
  readonly cudaDevice?: number;
  readonly spec: ModelSpec;
  /** Compute threads, the engine thread included; 0 = all processors this process may use (cgroup and affinity). */
  readonly cpuThreads: number;
  /** Instruction set: 'auto' or one of BuildInfo.cpuIsas. */
  readonly cpuIsa: string;
  /** Emit an NVTX range for every module of the model, every step. Default: false. */
  readonly nvtxMarkers?: boolean;
}

export interface CacheConfig {
  readonly numBlocks: number;
  /** Tokens per block. */
  readonly blockSize: number;
  /** Request slots. */
  readonly maxRequests: number;
  /** Most tokens in one ForwardBatch. */
  readonly maxBatchTokens: number;
  /** Longest sequence, in tokens. */
  readonly maxContextLength: number;
  /**
   * On a GPU, which has room for them from the start: ids in a request's logit bias, and numbers that a row's
   * log-probabilities give beside the target's (two for each most likely token, one for each watched one). Default: 0.
   */
  readonly maxBiasIds?: number;
  readonly maxRowLogprobs?: number;
  /** Batch sizes that decode steps are padded to on a GPU, ascending. Default: none. */
  readonly graphBatchSizes?: readonly number[];
  /** Capture a CUDA graph for each of them. Default: false. */
  readonly captureGraphs?: boolean;
}

export interface MemoryInfo {
  readonly weightBytes: number;
  readonly kvCacheBytes: number;
  readonly workspaceBytes: number;
  /** KV bytes of one token over all layers. */
  readonly kvBytesPerToken: number;
  /**
   * Bytes this process may still allocate where the model runs: the smaller of free memory and what its cgroup leaves, or
   * the free memory of the GPU.
   */
  readonly availableBytes: number;
  readonly residentBytes: number;
  /** CUDA graphs that initCache captured, and what that took of the GPU's memory and of time. */
  readonly graphCount: number;
  readonly graphBytes: number;
  readonly graphSeconds: number;
}

export interface BuildInfo {
  readonly version: string;
  readonly compiler: string;
  readonly buildType: string;
  /** '' or the sanitizer the addon was built with. */
  readonly sanitizer: string;
  /** LAYOUT_VERSION the addon was built against; must equal ours. */
  readonly layoutVersion: number;
  /** Version of the interface between the addon and libvitrine_cuda.so. */
  readonly cudaAbiVersion: number;
  /** Instruction sets this CPU can run, slowest first: avx2, avx512, avx512_bf16, amx_bf16. */
  readonly cpuIsas: readonly string[];
}

export interface CpuDeviceInfo {
  readonly kind: 'cpu';
  readonly name: string;
  readonly threads: number;
  readonly totalBytes: number;
}

export interface CudaDeviceInfo {
  readonly kind: 'cuda';
  /** Among the GPUs that CUDA_VISIBLE_DEVICES leaves, those included that cannot be used. */
  readonly index: number;
  readonly name: string;
  /** '9.0': Hopper. */
  readonly computeCapability: string;
  readonly multiprocessors: number;
  /** 13000: CUDA 13.0, the newest that the driver runs; and the one that the library was built with. */
  readonly driverVersion: number;
  readonly runtimeVersion: number;
  readonly totalBytes: number;
}

export type DeviceInfo = CpuDeviceInfo | CudaDeviceInfo;

/** Measured rates of this machine: what kernels are compared with. */
export interface MachineLimits {
  readonly threads: number;
  /** Bytes per second of a read loop over a buffer far larger than the caches. */
  readonly readBytesPerSecond: number;
  readonly float32FlopsPerSecond: number;
  /** By AMX where the CPU has it, else by AVX512-BF16; 0 where it has neither. */
  readonly bfloat16FlopsPerSecond: number;
}

/** A thread of the engine, for traces. `tid`: the kernel's thread id. */
export interface SpanThreadInfo {
  readonly tid: number;
  readonly name: string;
}

/** What the numbers in the engine's span records stand for. */
export interface SpanTables {
  readonly names: readonly string[];
  /** The engine thread first, then its workers. */
  readonly threads: readonly SpanThreadInfo[];
}

/** A CUDA graph, which is replayed for decode batches of up to `batchSize` requests. */
export interface CapturedGraph {
  readonly batchSize: number;
  /** What the NVTX range of a replay is called. */
  readonly range: string;
  /**
   * What it was captured from. The stream is single: the kernels, copies and memsets of a replay run in this order, so many
   * `nodes` an op. `module`: null for an op that belongs to none.
   */
  readonly ops: readonly { readonly op: string; readonly module: string | null; readonly nodes: number }[];
}

/** Chunks of trace/record/span-layout.ts. */
export interface DeviceTraceStep {
  readonly stepId: number;
  /** Calls of CUDA, on the threads of this process. */
  readonly host: Uint8Array;
  /** Kernels, copies and waits, on the device's streams. */
  readonly device: Uint8Array;
}

/** What the device did in recorded steps. */
export interface DeviceTraceBatch {
  /** CUDA's number of the device. */
  readonly device: number;
  /** What the tables of the two kinds of chunks gained since the batch before; ids and indices follow on. */
  readonly hostTables: SpanTables;
  readonly deviceTables: SpanTables;
  readonly steps: readonly DeviceTraceStep[];
}

/**
 * Called on the JavaScript thread after each step, in order; exactly one of error and output is null. `spans`: the records
 * of a step whose batch said `profile`, one chunk as laid out by trace/record/span-layout.ts, else null. They lie after the
 * output's startNs and not after its launchedNs. The bytes are the engine's and change with the next step: an
 * ArrayBuffer a step would have V8 collect garbage all the time, since memory outside of its heap counts for that.
 */
export type StepCallback = (error: Error | null, output: ArrayBuffer | null, spans: Uint8Array | null) => void;

export interface NativeEngine {
  /**
   * Blocks until all weights are packed. Throws an Error that names file and tensor; with the code OUT_OF_MEMORY, here
   * and in initCache, when the device has no memory left. A cache that cannot be used is not an error.
   */
  loadWeights(plan: LoadPlan): WeightOrigin;
  /** Allocates the paged KV cache and all that steps need: none allocates device memory later. Once, after loadWeights. */
  initCache(config: CacheConfig): void;
  /**
   * Queues a step and returns at once; steps run in order on the engine thread, on a GPU with the next one's ops queued
   * before this one is done. The buffer is copied
   * and free again when it returns. A step that fails marks the engine dead: it and every later step report an error.
   * K and V of a layer are stored for the whole batch before its attention runs: a request may read blocks that an
   * earlier one of the same batch fills.
   */
  submit(batch: ArrayBuffer): void;
  memoryInfo(): MemoryInfo;
  /** After initCache; they never change. */
  spanTables(): SpanTables;
  /**
   * Keeps the calling thread off the processor that the engine thread is pinned to, where it may use another: what wakes
   * to take a step's output would else run there and hold up the next step. For a process that has nothing but this
   * engine: what the thread starts afterwards is kept off as well.
   */
  keepThreadOff(): void;
  /** The CUDA graphs of decode steps, by size; none on a CPU. After initCache; they never change. */
  capturedGraphs(): CapturedGraph[];
  /**
   * Throws an Error with the reason why the device's work cannot be recorded: no CUPTI, another profiler, a CPU. Blocks
   * for the steps that are queued.
   */
  checkDeviceTrace(): void;
  /** From the next submitted step on, of steps whose batch says `profile`. Blocks for the steps that are queued. */
  startDeviceTrace(): void;
  /** What is known so far of steps that are done; no steps while little waits. A step's records come once. */
  takeDeviceTrace(): DeviceTraceBatch;
  /** All that is left of the steps that are done. Blocks for the steps that are queued. */
  finishDeviceTrace(): DeviceTraceBatch;
  stopDeviceTrace(): void;
  /** Waits for the running step, drops queued ones, joins the threads, frees the memory. Idempotent. */
  close(): void;
}

export interface NativeAddon {
  buildInfo(): BuildInfo;
  /** The processors: one entry. */
  devices(): CpuDeviceInfo[];
  /**
   * The GPUs that the libvitrine_cuda.so at this path can use, at least one. Throws an Error of one line: no such file, no
   * library or not this one, another version of the interface, no driver, too old a driver, no GPU, none new enough.
   */
  cudaDevices(library: string): CudaDeviceInfo[];
  /** Measures for about `seconds` with so many threads (0, the default: as an engine); call it only while no engine runs. */
  machineLimits(seconds: number, threads?: number): MachineLimits;
  /** Has the calling thread run only while no other one wants its processor; false where that is not allowed. */
  setIdlePriority(): boolean;
  /** Lets another thread have the calling thread's processor, if one wants it. */
  giveWay(): void;
  /** An NVTX range of the calling thread, in the default domain; nanoseconds where no tool is attached. */
  rangePush(name: string): void;
  rangePop(): void;
  /** cudaProfilerStart/Stop: opens and closes the capture range of a tool such as nsys. Throws an Error with the reason. */
  cudaProfilerStart(): void;
  cudaProfilerStop(): void;
  readonly Engine: new (config: EngineConfig, onStep: StepCallback) => NativeEngine;
}

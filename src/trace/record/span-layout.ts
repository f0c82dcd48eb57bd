// The one record format of everything that is traced: JavaScript spans, those of native steps and of GPUs. The tables
// here are its only definition: native/profiler/span_layout.h is generated from them (npm run generate).
//
// A chunk is one little-endian buffer: a header of CHUNK_HEADER_BYTES, then records of RECORD_BYTES, nothing else.
//
//   header   0 u32 magic   4 u32 version   8 i64 baseNs   16 u32 dropped   20 u32 reserved   24 u32[10] zero
//   record   0 u8 kind   1 u8 category   2 u16 thread   4 u32 name
//            8 i64 begin   16 i64 end   (ns of CLOCK_MONOTONIC after the header's baseNs; 0 <= begin <= end < 2^53)
//           24 u64 id   32 u16 schema   34 i16 layer (-1: none)   36 u32[7] argument words
//
// `name` and name-typed arguments index the source's name table; `thread` indexes its thread table. `dropped` counts the
// records lost on the way since the chunk before. Names travel beside the chunks: ids are dense and start at 0.
//
// Rules for producers:
//  * Spans of one thread nest: they are disjoint or one contains the other, and begins on one thread strictly increase
//    (bump a repeated clock value by 1 ns). Viewers break ties by the order in the file, where children come first.
//  * A record may be followed at once by `more` records of the same chunk, whose schema and words add arguments to it.
//  * Work that overlaps other work of its thread (a request, an await) is an `async` record, not a span.

export const SPAN_LAYOUT_VERSION = 3;
export const CHUNK_MAGIC = 0x31535456; // "VTS1"
export const CHUNK_HEADER_BYTES = 64;
export const RECORD_BYTES = 64;
export const RECORD_WORDS = RECORD_BYTES / 4;
export const ARGUMENT_WORDS = 7;

/** Byte offsets in the chunk header. */
export const CHUNK_HEADER = { magic: 0, version: 4, baseNs: 8, dropped: 16 } as const;

/** Byte offsets in a record. */
export const RECORD_OFFSET = {
  kind: 0,
  category: 1,
  thread: 2,
  name: 4,
  begin: 8,
  end: 16,
  id: 24,
  schema: 32,
  layer: 34,
  args: 36,
} as const;

/** What a record becomes in the trace; 0 is never written, so a zeroed record is an error. */
export const RECORD_KIND = {
  /** Complete event, ph X. */
  span: 1,
  /** ph i at `begin`. */
  instant: 2,
  /** ph C at `begin`; the arguments are the values. */
  counter: 3,
  /** ph s, t, f at `begin`: an arrow named `name` with identity `id`, bound to the span around it on its thread. */
  flowStart: 4,
  flowStep: 5,
  flowEnd: 6,
  /** ph b and e: work with identity `id` that overlaps other work. */
  async: 7,
  /** More arguments for the record before. */
  more: 8,
  /**
   * A point at `begin` of the arrow with identity `id`, bound to the span around it. Which points are an arrow's start,
   * steps and end is found by the writer: all points of one category, name and id, in the order of time. So producers in
   * several processes need not know who saw a request first or last.
   */
  flowPoint: 9,
} as const;
export type RecordKind = keyof typeof RECORD_KIND;

export interface CategorySpec {
  /** `cat` in the trace. */
  readonly name: string;
  /** Argument that a non-zero `id` of a span becomes, as in Kineto. */
  readonly idArgument: 'External id' | 'correlation' | 'id';
}

const category = (name: string, idArgument: CategorySpec['idArgument'] = 'External id'): CategorySpec => ({
  name,
  idArgument,
});

/** Order is part of the format. The first twelve are Kineto's; the rest are ours. */
export const SPAN_CATEGORIES = {
  cpuOp: category('cpu_op'),
  userAnnotation: category('user_annotation'),
  gpuUserAnnotation: category('gpu_user_annotation'),
  kernel: category('kernel', 'correlation'),
  gpuMemcpy: category('gpu_memcpy', 'correlation'),
  gpuMemset: category('gpu_memset', 'correlation'),
  cudaRuntime: category('cuda_runtime', 'correlation'),
  cudaDriver: category('cuda_driver', 'correlation'),
  cudaSync: category('cuda_sync', 'correlation'),
  cudaEvent: category('cuda_event', 'correlation'),
  pythonFunction: category('python_function'),
  overhead: category('overhead'),
  scheduler: category('scheduler', 'id'),
  tokenizer: category('tokenizer', 'id'),
  http: category('http', 'id'),
  request: category('request', 'id'),
  memory: category('memory', 'id'),
  ac2g: category('ac2g', 'id'),
} as const satisfies Record<string, CategorySpec>;
export type SpanCategory = keyof typeof SPAN_CATEGORIES;

/**
 * i32, u32, f32: one word. i64, f64: two words, low first. name: one word, an id of the name table. choice: one word, an
 * index into `choices`. dims: `size` words, a list of numbers; those named `Input Dims` are tensor shapes, become one
 * list of lists, and are left out where shapes are not recorded.
 */
export interface ArgumentField {
  readonly name: string;
  readonly type: 'i32' | 'u32' | 'f32' | 'i64' | 'f64' | 'name' | 'choice' | 'dims';
  readonly size?: number;
  readonly choices?: readonly string[];
}

const field = (name: string, type: ArgumentField['type']): ArgumentField => ({ name, type });
const dims = (size: number): ArgumentField => ({ name: 'Input Dims', type: 'dims', size });

/** How the argument words of a record are read. Order is part of the format; a schema never outgrows ARGUMENT_WORDS. */
export const SPAN_SCHEMAS = {
  none: [],
  /** One forward step. */
  step: [
    field('step', 'u32'),
    { name: 'mode', type: 'choice', choices: ['extend', 'decode', 'mixed'] },
    field('batch size', 'i32'),
    field('tokens', 'i32'),
    field('cached tokens', 'i32'),
    field('waiting requests', 'i32'),
  ],
  /** What lies around ops: the path of the module in the model, as `model.layers.0.self_attn`. */
  module: [field('module', 'name')],
  /**
   * x[m, k] times w[n, k]. `bytes`, here and below: what the op reads and writes at least, each operand once.
   * `module`: whose op it is.
   */
  gemm: [dims(2), dims(2), field('bytes', 'i64'), field('module', 'name')],
  /** An op over rows of a matrix. */
  rows: [dims(2), field('bytes', 'i64'), field('module', 'name')],
  /** Queries [tokens, heads, headDim] of a batch over its paged cache, of which they see `kv tokens`. */
  attention: [dims(3), field('kv tokens', 'i32'), field('bytes', 'i64'), field('module', 'name')],
  bytes: [field('bytes', 'i64')],
  count: [field('count', 'i64')],
  text: [field('detail', 'name')],
  /** The life of a request. */
  request: [
    field('request', 'name'),
    field('prompt tokens', 'i32'),
    field('cached tokens', 'i32'),
    field('new tokens', 'i32'),
  ],
  http: [
    field('method', 'name'),
    field('route', 'name'),
    field('status', 'i32'),
    field('bytes in', 'i32'),
    field('bytes out', 'i32'),
  ],
  /** Counter values. */
  value: [field('value', 'f64')],
  processMemory: [field('resident bytes', 'f64')],
  cacheUse: [field('used tokens', 'f64'), field('cached tokens', 'f64'), field('free tokens', 'f64')],
  queueUse: [field('running requests', 'f64'), field('waiting requests', 'f64')],
  /** Of an op, after its own schema: operations of its products, two a multiply-add. */
  flops: [field('flops', 'f64')],
  /** A GPU kernel. `more` records follow: gpuLaunch, gpuGraph where it came from a graph, and what is known of its op. */
  gpuPlace: [
    field('device', 'i32'),
    field('context', 'i32'),
    field('stream', 'i32'),
    field('registers per thread', 'i32'),
    field('shared memory', 'i32'),
    field('blocks per SM', 'f32'),
    field('warps per SM', 'f32'),
  ],
  gpuLaunch: [
    { name: 'grid', type: 'dims', size: 3 },
    { name: 'block', type: 'dims', size: 3 },
  ],
  gpuGraph: [field('graph id', 'u32'), field('graph node id', 'i64')],
  gpuCopy: [
    field('device', 'i32'),
    field('context', 'i32'),
    field('stream', 'i32'),
    field('bytes', 'i64'),
    field('memory bandwidth (GB/s)', 'f32'),
  ],
  /** The host waits for a stream; -1: for an event or the whole device. */
  gpuWait: [field('context', 'i32'), field('stream', 'i32')],
  /** The op of the model that work on a GPU belongs to, and its module; of a phase of the engine the name alone. */
  gpuOp: [field('op', 'name'), field('module', 'name')],
  gpuPhase: [field('op', 'name')],
  /** What the op reached: its bytes or operations over the time of all its work on the GPU, the same on each part of it. */
  gpuBandwidth: [field('GB/s', 'f32')],
  gpuRates: [field('GB/s', 'f32'), field('TFLOP/s', 'f32')],
  gpuFlops: [field('TFLOP/s', 'f32')],
  /** The experts of a mixture over rows of a matrix. `flops` follows, and `bytes` where it is known which experts run. */
  experts: [dims(2), field('module', 'name')],
} as const satisfies Record<string, readonly ArgumentField[]>;
export type SpanSchema = keyof typeof SPAN_SCHEMAS;

const indexOf = <K extends string>(table: Record<K, unknown>): Readonly<Record<K, number>> =>
  Object.fromEntries(Object.keys(table).map((key, index) => [key, index])) as Record<K, number>;

/** The numbers that stand for categories and schemas in a record. */
export const CATEGORY_ID = indexOf(SPAN_CATEGORIES);
export const SCHEMA_ID = indexOf(SPAN_SCHEMAS);

/** Words a field takes. */
export function fieldWords(spec: ArgumentField): number {
  if (spec.type === 'dims') return spec.size ?? 1;
  return spec.type === 'i64' || spec.type === 'f64' ? 2 : 1;
}

/** Numbers a producer passes for a field: one, or one per dimension. */
export function fieldValues(spec: ArgumentField): number {
  return spec.type === 'dims' ? (spec.size ?? 1) : 1;
}

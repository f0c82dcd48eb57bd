// ParameterTable + checkpoint → LoadPlan: where the bytes of each native parameter are. Every wanted tensor must be
// there in the right shape, and nothing may be left over: a surplus tensor means the config describes another model.
import type { DType, LoadPlan, ModelSpec, ParameterPlan, StoredDType, TensorPiece } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import type { Checkpoint } from './checkpoint.js';
import { heldDType } from './held-dtype.js';
import { isKvScale } from './kv-cache-spec.js';
import type { ParameterSource, TensorSource } from './parameter-table.js';
import type { StoredTensor } from './safetensors.js';

const DTYPES: Readonly<Record<string, DType>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };
const FLOAT8: Readonly<Record<string, StoredDType>> = { F8_E4M3: 'float8_e4m3fn' };

/** Scales of activations, by layer: they are quantized for each token, with scales of their own. */
const UNUSED_SCALE = /\.input_scale$/;

/** How many names an error lists before it says "and N more". */
const MAX_LISTED = 3;

/**
 * `quantized`: the matrices that the spec holds in float8 are stored so, with their scales. Throws MODEL_INVALID (missing,
 * surplus or misshapen tensor) or MODEL_UNSUPPORTED (dtype).
 */
export function buildLoadPlan(
  table: readonly ParameterSource[],
  checkpoint: Checkpoint,
  spec: ModelSpec,
  quantized = false,
): LoadPlan {
  const isFloat8 = ({ name }: ParameterSource): boolean => quantized && heldDType(spec, name) === 'float8_e4m3fn';
  const wanted = new Set(
    table.flatMap((parameter) => {
      const sources = parameter.pieces.map((piece) => piece.source);
      return isFloat8(parameter) ? [...sources, ...sources.map(scaleName)] : sources;
    }),
  );
  const missing = [...wanted].filter((name) => !checkpoint.tensors.has(name));
  if (missing.length > 0) throw missingTensors(missing, checkpoint);
  const isUnused = (name: string): boolean => isHarmless(name, spec) || (quantized && UNUSED_SCALE.test(name));
  const surplus = [...checkpoint.tensors.keys()].filter((name) => !wanted.has(name) && !isUnused(name));
  if (surplus.length > 0) {
    const { file } = checkpoint.tensors.get(surplus[0]!)!;
    const where = checkpoint.files[file]!.path;
    const verb = surplus.length > 1 ? 'have' : 'has';
    const problem = `${where}: ${list(surplus)} ${verb} no place in the model that config.json describes.`;
    throw new VitrineError('MODEL_INVALID', problem);
  }
  return {
    files: checkpoint.files.map(({ path, bytes }) => ({ path, bytes })),
    parameters: table.map((parameter) => planParameter(parameter, checkpoint, isFloat8(parameter))),
    dummySeed: 0,
  };
}

/** Random weights in place of a checkpoint. */
export function buildDummyPlan(table: readonly ParameterSource[], dtype: DType, seed: number): LoadPlan {
  const parameters = table.map(({ name, rows, cols, pieces }) => ({
    name,
    rows,
    cols,
    pieces: pieces.map(({ source, shape }) => ({ file: -1, offset: 0, dtype, rows: shape[0]!, source })),
  }));
  return { files: [], parameters, dummySeed: seed };
}

/** The dtype that most of the checkpoint's bytes are stored in. */
export function storedDType(checkpoint: Checkpoint): DType {
  const bytes: Record<DType, number> = { float32: 0, float16: 0, bfloat16: 0 };
  for (const { tensor } of checkpoint.tensors.values()) {
    const dtype = DTYPES[tensor.dtype];
    if (dtype !== undefined) bytes[dtype] += tensor.bytes;
  }
  return (Object.keys(bytes) as DType[]).reduce((best, dtype) => (bytes[dtype] > bytes[best] ? dtype : best));
}

function planParameter(
  { name, rows, cols, pieces }: ParameterSource,
  checkpoint: Checkpoint,
  float8: boolean,
): ParameterPlan {
  const plan = (piece: TensorSource): TensorPiece =>
    float8 ? planFloat8(piece, checkpoint) : planPiece(piece, checkpoint, DTYPES);
  return { name, rows, cols, pieces: pieces.map(plan) };
}

function scaleName(source: string): string {
  return `${source}_scale`;
}

function planFloat8(piece: TensorSource, checkpoint: Checkpoint): TensorPiece {
  const source = scaleName(piece.source);
  const { file, tensor } = checkpoint.tensors.get(source)!;
  const { path } = checkpoint.files[file]!;
  const rows = piece.shape[0]!;
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  if ((count !== 1 && count !== rows) || (tensor.shape[0] ?? 1) !== count) {
    throw new VitrineError(
      'MODEL_INVALID',
      `${path}: tensor "${source}" has shape [${tensor.shape.join(', ')}]; expected one scale, or ${rows} for the rows.`,
    );
  }
  const scales = { file, offset: tensor.offset, dtype: storedAs(path, tensor, DTYPES), count, source };
  return { ...planPiece(piece, checkpoint, FLOAT8), scales };
}

function storedAs<T extends StoredDType>(
  path: string,
  tensor: StoredTensor,
  supported: Readonly<Record<string, T>>,
): T {
  const dtype = Object.hasOwn(supported, tensor.dtype) ? supported[tensor.dtype] : undefined;
  if (dtype !== undefined) return dtype;
  const names = Object.keys(supported);
  throw new VitrineError(
    'MODEL_UNSUPPORTED',
    `${path}: tensor "${tensor.name}" is stored as ${tensor.dtype}; supported ${names.length > 1 ? 'are' : 'is'} ${names.join(', ')}.`,
  );
}

function planPiece(
  { source, shape }: TensorSource,
  checkpoint: Checkpoint,
  supported: Readonly<Record<string, StoredDType>>,
): TensorPiece {
  const { file, tensor } = checkpoint.tensors.get(source)!;
  const { path } = checkpoint.files[file]!;
  const dtype = storedAs(path, tensor, supported);
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
    throw new VitrineError(
      'MODEL_INVALID',
      `${path}: tensor "${source}" has shape [${tensor.shape.join(', ')}]; config.json asks for [${shape.join(', ')}].`,
    );
  }
  return { file, offset: tensor.offset, dtype, rows: shape[0]!, source };
}

/** Tensors that are no parameters: what the model computes or shares by itself, and the scales of a KV cache. */
function isHarmless(name: string, spec: ModelSpec): boolean {
  return (
    name.endsWith('.rotary_emb.inv_freq') || (name === 'lm_head.weight' && spec.tieWordEmbeddings) || isKvScale(name)
  );
}

function missingTensors(missing: readonly string[], checkpoint: Checkpoint): VitrineError {
  const where = checkpoint.files.length === 1 ? checkpoint.files[0]!.path : `${checkpoint.directory} (all shards)`;
  const tied = missing.length === 1 && missing[0] === 'lm_head.weight';
  const hint = tied
    ? ' If input and output embeddings are shared, config.json must say "tie_word_embeddings": true.'
    : '';
  const verb = missing.length > 1 ? 'are' : 'is';
  return new VitrineError('MODEL_INVALID', `${where}: ${list(missing)} ${verb} missing.${hint}`);
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED).map((name) => `"${name}"`);
  const rest = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : '';
  return `${names.length > 1 ? 'tensors' : 'tensor'} ${shown.join(', ')}${rest}`;
}

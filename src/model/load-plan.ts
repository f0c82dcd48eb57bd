// ParameterTable + checkpoint → LoadPlan: where the bytes of each native parameter are. Every wanted tensor must be
// there in the right shape, and nothing may be left over: a surplus tensor means the config describes another model.
import type { DType, LoadPlan, ModelSpec, ParameterPlan, TensorPiece } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import type { Checkpoint } from './checkpoint.js';
import type { ParameterSource, TensorSource } from './parameter-table.js';

const DTYPES: Readonly<Record<string, DType>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** How many names an error lists before it says "and N more". */
const MAX_LISTED = 3;

/** Throws MODEL_INVALID (missing, surplus or misshapen tensor) or MODEL_UNSUPPORTED (dtype). */
export function buildLoadPlan(table: readonly ParameterSource[], checkpoint: Checkpoint, spec: ModelSpec): LoadPlan {
  const wanted = new Set(table.flatMap((parameter) => parameter.pieces.map((piece) => piece.source)));
  const missing = [...wanted].filter((name) => !checkpoint.tensors.has(name));
  if (missing.length > 0) throw missingTensors(missing, checkpoint);
  const surplus = [...checkpoint.tensors.keys()].filter((name) => !wanted.has(name) && !isHarmless(name, spec));
  if (surplus.length > 0) {
    const { file } = checkpoint.tensors.get(surplus[0]!)!;
    const where = checkpoint.files[file]!.path;
    const verb = surplus.length > 1 ? 'have' : 'has';
    const problem = `${where}: ${list(surplus)} ${verb} no place in the model that config.json describes.`;
    throw new VitrineError('MODEL_INVALID', problem);
  }
  return {
    files: checkpoint.files.map(({ path, bytes }) => ({ path, bytes })),
    parameters: table.map((parameter) => planParameter(parameter, checkpoint)),
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

function planParameter({ name, rows, cols, pieces }: ParameterSource, checkpoint: Checkpoint): ParameterPlan {
  return { name, rows, cols, pieces: pieces.map((piece) => planPiece(piece, checkpoint)) };
}

function planPiece({ source, shape }: TensorSource, checkpoint: Checkpoint): TensorPiece {
  const { file, tensor } = checkpoint.tensors.get(source)!;
  const { path } = checkpoint.files[file]!;
  const dtype = Object.hasOwn(DTYPES, tensor.dtype) ? DTYPES[tensor.dtype] : undefined;
  if (dtype === undefined) {
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${path}: tensor "${source}" is stored as ${tensor.dtype}; supported are ${Object.keys(DTYPES).join(', ')}.`,
    );
  }
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
    throw new VitrineError(
      'MODEL_INVALID',
      `${path}: tensor "${source}" has shape [${tensor.shape.join(', ')}]; config.json asks for [${shape.join(', ')}].`,
    );
  }
  return { file, offset: tensor.offset, dtype, rows: shape[0]!, source };
}

/** Tensors that old checkpoints carry although the model computes or shares them. */
function isHarmless(name: string, spec: ModelSpec): boolean {
  return name.endsWith('.rotary_emb.inv_freq') || (name === 'lm_head.weight' && spec.tieWordEmbeddings);
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

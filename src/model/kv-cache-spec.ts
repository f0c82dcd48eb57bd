// How a model's keys and values are kept: --kv-cache-dtype, and the scales of the checkpoint for a cache of 8-bit numbers.
import { type FileHandle, open } from 'node:fs/promises';
import type { DType, KvCacheDType, KvCacheSpec, KvScales } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import type { Checkpoint } from './checkpoint.js';
import type { StoredTensor } from './safetensors.js';

const DTYPES: Readonly<Record<string, KvCacheDType>> = {
  fp8_e4m3: 'float8_e4m3fn',
  bf16: 'bfloat16',
  bfloat16: 'bfloat16',
};

/** What exporters call the scales within `model.layers.N.self_attn.`, and of what they are; the last is of old ones. */
const SCALES: Readonly<Record<string, 'k' | 'v' | 'both'>> = {
  k_scale: 'k',
  v_scale: 'v',
  'attn.k_scale': 'k',
  'attn.v_scale': 'v',
  'k_proj.k_scale': 'k',
  'v_proj.v_scale': 'v',
  kv_scale: 'both',
};
const SCALE_NAME = /^model\.layers\.(\d+)\.self_attn\.(.+)$/;

/** Whether a tensor of a checkpoint is a scale of keys or values. */
export function isKvScale(name: string): boolean {
  return scaleOf(name) !== undefined;
}

/**
 * `option`: --kv-cache-dtype. `dtype`: of the model, which `auto` keeps. `checkpoint`: null for dummy weights.
 * Errors: MODEL_INVALID and MODEL_UNSUPPORTED for a scale that cannot be one.
 */
export async function readKvCacheSpec(
  option: string,
  dtype: DType,
  checkpoint: Checkpoint | null,
  layers: number,
): Promise<KvCacheSpec> {
  const chosen = DTYPES[option] ?? dtype;
  if (chosen !== 'float8_e4m3fn' || checkpoint === null) return { dtype: chosen, scales: [] };
  return { dtype: chosen, scales: await readScales(checkpoint, layers) };
}

/** Of all layers, or none at all. Where a layer has one scale for both, or only one of the two, it is that of both. */
async function readScales(checkpoint: Checkpoint, layers: number): Promise<KvScales[]> {
  const found = Array.from({ length: layers }, (): { k?: number; v?: number } => ({}));
  for (const { path, tensors } of checkpoint.files) {
    const scales = [...tensors.values()].filter(({ name }) => isKvScale(name));
    if (scales.length === 0) continue;
    const handle = await open(path, 'r');
    try {
      for (const tensor of scales) {
        const { layer, of } = scaleOf(tensor.name)!;
        const scale = await readScale(handle, path, tensor);
        const place = found[layer];
        if (place === undefined)
          throw invalid(path, tensor, `is of a layer that the model with ${layers} does not have`);
        for (const part of of === 'both' ? (['k', 'v'] as const) : [of]) {
          const other = place[part];
          if (other !== undefined && other !== scale) {
            throw invalid(path, tensor, `is ${scale}, and another tensor says ${other} of the same ${part} scale`);
          }
          place[part] = scale;
        }
      }
    } finally {
      await handle.close();
    }
  }
  const without = found.flatMap(({ k, v }, layer) => (k === undefined && v === undefined ? [layer] : []));
  if (without.length === layers) return [];
  if (without.length > 0) {
    throw new VitrineError(
      'MODEL_INVALID',
      `The checkpoint has scales of the KV cache (k_scale, v_scale) for some layers, and none for ${without.join(', ')}.`,
    );
  }
  return found.map(({ k, v }) => ({ k: (k ?? v)!, v: (v ?? k)! }));
}

function scaleOf(name: string): { readonly layer: number; readonly of: 'k' | 'v' | 'both' } | undefined {
  const [, layer, rest] = SCALE_NAME.exec(name) ?? [];
  if (rest === undefined || !Object.hasOwn(SCALES, rest)) return undefined;
  return { layer: Number(layer), of: SCALES[rest]! };
}

async function readScale(file: FileHandle, path: string, tensor: StoredTensor): Promise<number> {
  if (tensor.shape.some((size) => size !== 1)) {
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${path}: tensor "${tensor.name}" has shape [${tensor.shape.join(', ')}]; one scale a layer is supported.`,
    );
  }
  const read = READERS[tensor.dtype];
  if (read === undefined) {
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${path}: tensor "${tensor.name}" is stored as ${tensor.dtype}; supported are ${Object.keys(READERS).join(', ')}.`,
    );
  }
  const bytes = Buffer.alloc(tensor.bytes);
  const { bytesRead } = await file.read(bytes, 0, tensor.bytes, tensor.offset);
  if (bytesRead < tensor.bytes) throw invalid(path, tensor, 'is cut off');
  const scale = read(bytes);
  if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) {
    throw invalid(path, tensor, `must be a positive number, got ${scale}`);
  }
  // Values are stored times the reciprocal.
  if (Math.fround(1 / scale) === Number.POSITIVE_INFINITY) {
    throw invalid(path, tensor, `must have a reciprocal that is finite in float32, got ${scale}`);
  }
  return scale;
}

const READERS: Readonly<Record<string, (bytes: Buffer) => number>> = {
  F32: (bytes) => bytes.readFloatLE(),
  F16: (bytes) => halfToNumber(bytes.readUInt16LE()),
  BF16: (bytes) => Buffer.from([0, 0, bytes[0]!, bytes[1]!]).readFloatLE(),
};

function halfToNumber(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  const sign = bits >= 0x8000 ? -1 : 1;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (fraction + 1024) * 2 ** (exponent - 25));
}

function invalid(path: string, { name }: StoredTensor, problem: string): VitrineError {
  return new VitrineError('MODEL_INVALID', `${path}: tensor "${name}" ${problem}.`);
}

// Writes a model folder with random weights for any config.json, so that shapes and switches that no reference model has
// can be compared with the float64 decoder.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { heldDType } from '#vitrine/model/held-dtype.js';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { createRandom } from '../support/random.js';
import { float8Code, rowScale } from './float8.js';
import { ENGINE_DEFAULTS } from './reference-files.js';

/** A small config of a Llama, of sizes that are no multiples of a vector. */
export const LLAMA = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 40,
  intermediate_size: 52,
  num_hidden_layers: 2,
  num_attention_heads: 5,
  num_key_value_heads: 1,
  vocab_size: 131,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
};

export type StoredAs = 'F32' | 'BF16';

interface TensorBytes {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}

/**
 * config.json and model.safetensors. Weights are scaled so that activations neither die out nor explode, norms are near 1,
 * and biases are large enough to matter. What quantization_config names is stored as float8, with a scale for each tensor or
 * for each row.
 */
export async function writeRandomModel(
  directory: string,
  config: Readonly<Record<string, unknown>>,
  {
    seed = 1,
    storedAs = 'F32',
    scales = 'tensor',
    scalars = {},
  }: {
    readonly seed?: number;
    readonly storedAs?: StoredAs;
    /** Of float8 weights. */
    readonly scales?: 'tensor' | 'row';
    /** Single numbers beside the weights, by name. */
    readonly scalars?: Readonly<Record<string, number>>;
  } = {},
): Promise<void> {
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  // The plan of dummy weights lists the tensors that the model needs.
  const { spec, loadPlan } = await prepareModel({
    ...ENGINE_DEFAULTS,
    modelPath: directory,
    loadFormat: 'dummy',
    randomSeed: 0,
  });
  const normal = normalNumbers(createRandom(seed));
  const tensors: TensorBytes[] = [];
  for (const { name, cols, pieces } of loadPlan.parameters) {
    for (const { source, rows } of pieces) {
      const isVector = cols === 1;
      const values = Float32Array.from({ length: rows * cols }, () => weight(name, isVector, cols, normal()));
      if (heldDType(spec, name) === 'float8_e4m3fn') {
        tensors.push(...float8Tensors(source, values, rows, cols, scales === 'row'));
      } else {
        const bytes = storedAs === 'F32' ? Buffer.from(values.buffer) : bfloat16Bytes(values);
        tensors.push({ name: source, dtype: storedAs, shape: isVector ? [rows] : [rows, cols], bytes });
      }
    }
  }
  for (const [name, value] of Object.entries(scalars)) {
    tensors.push({ name, dtype: 'F32', shape: [], bytes: Buffer.from(Float32Array.of(value).buffer) });
  }
  await writeFile(join(directory, 'model.safetensors'), safetensors(tensors));
}

function safetensors(tensors: readonly TensorBytes[]): Buffer {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const headerBytes = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  return Buffer.concat([length, headerBytes, ...tensors.map(({ bytes }) => bytes)]);
}

/** The codes of a matrix, its scale or scales, and the scale of its inputs, which checkpoints may have. */
function float8Tensors(name: string, values: Float32Array, rows: number, cols: number, byRow: boolean): TensorBytes[] {
  const rowsOf = (index: number) => values.subarray(index * cols, (index + 1) * cols);
  const whole = rowScale(values);
  const scales = Float32Array.from({ length: byRow ? rows : 1 }, (_, i) => (byRow ? rowScale(rowsOf(i)) : whole));
  const codes = Uint8Array.from(values, (value, i) => {
    return float8Code(Math.fround(value / (byRow ? scales[Math.floor(i / cols)]! : whole)));
  });
  const module = name.replace(/\.weight$/, '');
  return [
    { name, dtype: 'F8_E4M3', shape: [rows, cols], bytes: Buffer.from(codes.buffer) },
    { name: `${name}_scale`, dtype: 'F32', shape: byRow ? [rows, 1] : [], bytes: Buffer.from(scales.buffer) },
    { name: `${module}.input_scale`, dtype: 'F32', shape: [1], bytes: Buffer.from(Float32Array.of(0.01).buffer) },
  ];
}

function weight(name: string, isVector: boolean, cols: number, normal: number): number {
  if (name.endsWith('norm')) return 1 + 0.2 * normal;
  if (isVector) return 0.5 * normal;
  if (name === 'embed_tokens') return normal;
  return (1.3 * normal) / Math.sqrt(cols);
}

/** Box-Muller. */
function normalNumbers(random: () => number): () => number {
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function bfloat16Bytes(values: Float32Array): Buffer {
  const words = new Uint32Array(values.buffer);
  return Buffer.from(Uint16Array.from(words, (word) => (word + 0x8000) >>> 16).buffer);
}

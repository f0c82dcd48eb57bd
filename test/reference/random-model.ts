// Writes a model folder with random weights for any config.json, so that shapes and switches that no reference model has
// can be compared with the float64 decoder.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { createRandom } from '../support/random.js';
import { ENGINE_DEFAULTS } from './reference-files.js';

export type StoredAs = 'F32' | 'BF16';

/**
 * config.json and model.safetensors. Weights are scaled so that activations neither die out nor explode, norms are near 1,
 * and biases are large enough to matter.
 */
export async function writeRandomModel(
  directory: string,
  config: Readonly<Record<string, unknown>>,
  {
    seed = 1,
    storedAs = 'F32',
    scalars = {},
  }: {
    readonly seed?: number;
    readonly storedAs?: StoredAs;
    /** Single numbers beside the weights, by name. */
    readonly scalars?: Readonly<Record<string, number>>;
  } = {},
): Promise<void> {
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  // The plan of dummy weights lists the tensors that the model needs.
  const { loadPlan } = await prepareModel({
    ...ENGINE_DEFAULTS,
    modelPath: directory,
    loadFormat: 'dummy',
    randomSeed: 0,
  });
  const normal = normalNumbers(createRandom(seed));
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  let offset = 0;
  for (const { name, cols, pieces } of loadPlan.parameters) {
    for (const { source, rows } of pieces) {
      const isVector = cols === 1;
      const values = Float32Array.from({ length: rows * cols }, () => weight(name, isVector, cols, normal()));
      const bytes = storedAs === 'F32' ? Buffer.from(values.buffer) : bfloat16Bytes(values);
      header[source] = {
        dtype: storedAs,
        shape: isVector ? [rows] : [rows, cols],
        data_offsets: [offset, offset + bytes.length],
      };
      offset += bytes.length;
      parts.push(bytes);
    }
  }
  for (const [name, value] of Object.entries(scalars)) {
    header[name] = { dtype: 'F32', shape: [], data_offsets: [offset, offset + 4] };
    offset += 4;
    parts.push(Buffer.from(Float32Array.of(value).buffer));
  }
  const headerBytes = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  await writeFile(join(directory, 'model.safetensors'), Buffer.concat([length, headerBytes, ...parts]));
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

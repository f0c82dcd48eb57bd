// Builds model folders for tests: config.json and safetensors files, sound or broken in one place.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface TestTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Default F32. */
  readonly dtype?: string;
  /** In the header instead of what follows from the others. */
  readonly dataOffsets?: readonly [number, number];
}

const BYTES: Record<string, number> = { F32: 4, F16: 2, BF16: 2, F64: 8, I64: 8, I8: 1, F8_E4M3: 1, BOOL: 1 };

/** A file of zeros with a header that describes `tensors` one behind the other. */
export function safetensorsBytes(tensors: readonly TestTensor[], metadata?: unknown): Buffer {
  const header: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata };
  let end = 0;
  for (const { name, shape, dtype = 'F32', dataOffsets } of tensors) {
    const start = end;
    end += (BYTES[dtype] ?? 4) * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype, shape, data_offsets: dataOffsets ?? [start, end] };
  }
  return rawSafetensors(JSON.stringify(header), end);
}

export function rawSafetensors(header: string | Buffer, dataBytes: number): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

/** Two layers, hidden 8, four heads of 2 and two kv heads, vocabulary 10. */
export const TINY_LLAMA = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 10,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
  torch_dtype: 'float32',
  bos_token_id: 1,
  eos_token_id: 2,
} as const;

/** The tensors of TINY_LLAMA. */
export function tinyLlamaTensors(dtype = 'F32'): TestTensor[] {
  const layer = (n: number): [string, number[]][] => [
    [`model.layers.${n}.input_layernorm.weight`, [8]],
    [`model.layers.${n}.self_attn.q_proj.weight`, [8, 8]],
    [`model.layers.${n}.self_attn.k_proj.weight`, [4, 8]],
    [`model.layers.${n}.self_attn.v_proj.weight`, [4, 8]],
    [`model.layers.${n}.self_attn.o_proj.weight`, [8, 8]],
    [`model.layers.${n}.post_attention_layernorm.weight`, [8]],
    [`model.layers.${n}.mlp.gate_proj.weight`, [12, 8]],
    [`model.layers.${n}.mlp.up_proj.weight`, [12, 8]],
    [`model.layers.${n}.mlp.down_proj.weight`, [8, 12]],
  ];
  const all: [string, number[]][] = [
    ['model.embed_tokens.weight', [10, 8]],
    ...layer(0),
    ...layer(1),
    ['model.norm.weight', [8]],
    ['lm_head.weight', [10, 8]],
  ];
  return all.map(([name, shape]) => ({ name, shape, dtype }));
}

export async function writeJson(directory: string, name: string, value: unknown): Promise<void> {
  await writeFile(join(directory, name), JSON.stringify(value));
}

/** config.json and, unless null, model.safetensors. */
export async function writeModel(
  directory: string,
  config: Readonly<Record<string, unknown>> = TINY_LLAMA,
  tensors: readonly TestTensor[] | null = tinyLlamaTensors(),
): Promise<void> {
  await writeJson(directory, 'config.json', config);
  if (tensors !== null) await writeFile(join(directory, 'model.safetensors'), safetensorsBytes(tensors));
}

// Makes a random model of a shape, once: the same numbers as safetensors (for Vitrine and transformers) and as GGUF (for
// llama.cpp). Weights are N(0, 0.02) drawn from a table; gains of norms are 1.
import { createWriteStream, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ggufHead, ropeRow } from './gguf.mjs';
import { bytesPerElement, tensorsOf } from './model-shapes.mjs';

const TABLE_BITS = 16;
const ROWS_AT_ONCE = 512;

/** Gives the folder of the checkpoint and the GGUF file in it. */
export async function makeModel(shape, root) {
  const directory = join(root, shape.name);
  const gguf = join(directory, 'model.gguf');
  if (existsSync(gguf)) return { directory, gguf };
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'config.json'), JSON.stringify(hfConfig(shape), null, 1));
  const tensors = [...tensorsOf(shape)];
  await writeSafetensors(shape, tensors, join(directory, 'model.safetensors'));
  await writeGguf(shape, tensors, `${gguf}.part`);
  renameSync(`${gguf}.part`, gguf); // last, so that what an interrupted run left is made anew
  return { directory, gguf };
}

function hfConfig(shape) {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.headDim,
    vocab_size: shape.vocab,
    tie_word_embeddings: shape.tied,
    max_position_embeddings: shape.contextLength,
    rope_theta: shape.ropeTheta,
    rms_norm_eps: 1e-5,
    hidden_act: 'silu',
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: shape.dtype,
  };
}

const elements = ({ dims }) => dims.reduce((product, dim) => product * dim, 1);

async function writeSafetensors(shape, tensors, path) {
  const header = {};
  let offset = 0;
  for (const tensor of tensors) {
    const bytes = elements(tensor) * bytesPerElement(shape);
    const dtype = shape.dtype === 'float32' ? 'F32' : 'BF16';
    header[tensor.name] = { dtype, shape: tensor.dims, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(path, async (write) => {
    await write(length);
    await write(text);
    for (const tensor of tensors) {
      for (const rows of rowsOf(shape, tensor)) await write(bytesOf(rows));
    }
  });
}

async function writeGguf(shape, tensors, path) {
  const { head, padding } = ggufHead(shape, tensors);
  await writeFile(path, async (write) => {
    await write(head);
    for (const tensor of tensors) {
      const heads = { 'self_attn.q_proj': shape.heads, 'self_attn.k_proj': shape.kvHeads };
      const rotated = Object.keys(heads).find((name) => tensor.name.includes(name));
      let bytes = 0;
      if (rotated === undefined) {
        for (const rows of rowsOf(shape, tensor)) {
          const chunk = tensor.dims.length === 1 ? bytesOf(Float32Array.from(gains(tensor))) : bytesOf(rows);
          bytes += chunk.length;
          await write(chunk);
        }
      } else {
        const whole = bytesOf(concat([...rowsOf(shape, tensor)]));
        const width = whole.length / tensor.dims[0];
        const permuted = Buffer.alloc(whole.length);
        for (let row = 0; row < tensor.dims[0]; row++) {
          const from = ropeRow(row, shape.headDim) * width;
          whole.copy(permuted, row * width, from, from + width);
        }
        bytes = permuted.length;
        await write(permuted);
      }
      await write(Buffer.alloc(padding(bytes)));
    }
  });
}

const gains = ({ dims }) => new Array(dims[0]).fill(1);
const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

function concat(parts) {
  const whole = new parts[0].constructor(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

let table;

/** Normal numbers with a deviation of 0.02, as stored. */
function normals(isFloat32) {
  if (table === undefined) {
    const floats = new Float32Array(2 ** TABLE_BITS);
    let state = 12345;
    const fraction = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state + 0.5) / 2 ** 32;
    };
    for (let i = 0; i < floats.length; i++) {
      floats[i] = 0.02 * Math.sqrt(-2 * Math.log(fraction())) * Math.cos(2 * Math.PI * fraction());
    }
    // bfloat16 is the upper half of a float32.
    table = { floats, halves: new Uint16Array(new Uint32Array(floats.buffer).map((bits) => bits >>> 16)) };
  }
  return isFloat32 ? table.floats : table.halves;
}

/** The tensor's elements as stored, some rows at a time; the same whenever they are asked for. */
function* rowsOf(shape, tensor) {
  const isFloat32 = shape.dtype === 'float32';
  const make = (count) => (isFloat32 ? new Float32Array(count) : new Uint16Array(count));
  if (tensor.dims.length === 1) {
    yield make(tensor.dims[0]).fill(isFloat32 ? 1 : 0x3f80);
    return;
  }
  const values = normals(isFloat32);
  let state = [...tensor.name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 1) || 1;
  const [rows, cols] = tensor.dims;
  for (let row = 0; row < rows; row += ROWS_AT_ONCE) {
    const part = make(Math.min(ROWS_AT_ONCE, rows - row) * cols);
    for (let i = 0; i < part.length; i++) {
      state ^= state << 13; // xorshift32 (Marsaglia, 2003)
      state ^= state >>> 17;
      state ^= state << 5;
      part[i] = values[state >>> (32 - TABLE_BITS)];
    }
    yield part;
  }
}

async function writeFile(path, produce) {
  const stream = createWriteStream(path);
  const failed = new Promise((_, reject) => stream.once('error', reject));
  const write = (bytes) => {
    if (stream.write(bytes)) return undefined;
    return Promise.race([new Promise((resolve) => stream.once('drain', resolve)), failed]);
  };
  await produce(write);
  await Promise.race([new Promise((resolve) => stream.end(resolve)), failed]);
}

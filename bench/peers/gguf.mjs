// Writes the head of a GGUF file (version 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) for a model of the
// llama architecture: metadata, a vocabulary of single characters, and where each tensor lies.
import { bytesPerElement } from './model-shapes.mjs';

const ALIGNMENT = 32;
const TYPE = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 };
const GGML_TYPE = { float32: 0, bfloat16: 30 };
const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, byte: 6 };
/** Two planes of Unicode for private use: 131,068 characters that no text has. */
const PRIVATE_USE = [
  [0xf0000, 0xffffd],
  [0x100000, 0x10fffd],
];

const NAMES = [
  [/^model\.embed_tokens\./, 'token_embd.'],
  [/^model\.norm\./, 'output_norm.'],
  [/^lm_head\./, 'output.'],
  [/^model\.layers\.(\d+)\.input_layernorm\./, 'blk.$1.attn_norm.'],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\./, 'blk.$1.ffn_norm.'],
  [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj\./, 'blk.$1.attn_$2.'],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj\./, 'blk.$1.attn_output.'],
  [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\./, 'blk.$1.ffn_$2.'],
];

function ggufName(name) {
  for (const [pattern, replacement] of NAMES) if (pattern.test(name)) return name.replace(pattern, replacement);
  throw new Error(`no GGUF name for ${name}`);
}

/**
 * llama.cpp rotates neighbouring channels of q and k, checkpoints pair the halves of a head: row `row` of the GGUF is this
 * row of the checkpoint.
 */
export function ropeRow(row, headDim) {
  const within = row % headDim;
  return row - within + (within % 2) * (headDim / 2) + Math.floor(within / 2);
}

/** The bytes before the first tensor, and the padding that must follow a tensor of so many bytes. */
export function ggufHead(shape, tensors) {
  const out = new Writer();
  out.raw(Buffer.from('GGUF')).uint32(3).uint64(tensors.length);
  const metadata = metadataOf(shape);
  out.uint64(metadata.length);
  for (const [key, type, value] of metadata) out.string(key).typed(type, value);
  let offset = 0;
  for (const { name, dims } of tensors) {
    const isVector = dims.length === 1;
    out.string(ggufName(name)).uint32(dims.length);
    for (const dim of [...dims].reverse()) out.uint64(dim);
    // llama.cpp wants the gains of norms in float32.
    out.uint32(GGML_TYPE[isVector ? 'float32' : shape.dtype]).uint64(offset);
    const bytes = dims.reduce((product, dim) => product * dim, isVector ? 4 : bytesPerElement(shape));
    offset += bytes + padding(bytes);
  }
  const bytes = out.bytes();
  return { head: Buffer.concat([bytes, Buffer.alloc(padding(bytes.length))]), padding };
}

const padding = (bytes) => (ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT;

function metadataOf(shape) {
  const { tokens, types } = vocabulary(shape.vocab);
  return [
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', shape.name],
    ['general.alignment', 'uint32', ALIGNMENT],
    ['llama.context_length', 'uint32', shape.contextLength],
    ['llama.embedding_length', 'uint32', shape.hidden],
    ['llama.block_count', 'uint32', shape.layers],
    ['llama.feed_forward_length', 'uint32', shape.intermediate],
    ['llama.attention.head_count', 'uint32', shape.heads],
    ['llama.attention.head_count_kv', 'uint32', shape.kvHeads],
    ['llama.attention.key_length', 'uint32', shape.headDim],
    ['llama.attention.value_length', 'uint32', shape.headDim],
    ['llama.attention.layer_norm_rms_epsilon', 'float32', 1e-5],
    ['llama.rope.dimension_count', 'uint32', shape.headDim],
    ['llama.rope.freq_base', 'float32', shape.ropeTheta],
    ['llama.vocab_size', 'uint32', shape.vocab],
    ['tokenizer.ggml.model', 'string', 'llama'],
    ['tokenizer.ggml.tokens', 'strings', tokens],
    ['tokenizer.ggml.scores', 'floats', new Array(tokens.length).fill(0)],
    ['tokenizer.ggml.token_type', 'ints', types],
    ['tokenizer.ggml.bos_token_id', 'uint32', 1],
    ['tokenizer.ggml.eos_token_id', 'uint32', 2],
    ['tokenizer.ggml.unknown_token_id', 'uint32', 0],
    ['tokenizer.ggml.add_bos_token', 'bool', false],
  ];
}

function vocabulary(size) {
  const tokens = ['<unk>', '<s>', '</s>'];
  const types = [TOKEN_TYPE.unknown, TOKEN_TYPE.control, TOKEN_TYPE.control];
  for (let byte = 0; byte < 256; byte++) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    types.push(TOKEN_TYPE.byte);
  }
  for (const [first, last] of PRIVATE_USE) {
    for (let code = first; code <= last && tokens.length < size; code++) {
      tokens.push(String.fromCodePoint(code));
      types.push(TOKEN_TYPE.normal);
    }
  }
  return { tokens, types };
}

class Writer {
  #parts = [];

  bytes() {
    return Buffer.concat(this.#parts);
  }

  raw(bytes) {
    this.#parts.push(bytes);
    return this;
  }

  uint32(value) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.raw(bytes);
  }

  uint64(value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return this.raw(bytes);
  }

  string(text) {
    const bytes = Buffer.from(text);
    return this.uint64(bytes.length).raw(bytes);
  }

  typed(type, value) {
    if (type === 'string') return this.uint32(TYPE.string).string(value);
    if (type === 'uint32') return this.uint32(TYPE.uint32).uint32(value);
    if (type === 'bool') return this.uint32(TYPE.bool).raw(Buffer.from([value ? 1 : 0]));
    if (type === 'float32') return this.uint32(TYPE.float32).raw(float32(value));
    if (type === 'strings') {
      this.#array(TYPE.string, value.length);
      for (const text of value) this.string(text);
      return this;
    }
    if (type === 'floats') return this.#array(TYPE.float32, value.length).raw(Buffer.concat(value.map(float32)));
    if (type === 'ints') {
      return this.#array(TYPE.int32, value.length).raw(Buffer.from(Int32Array.from(value).buffer));
    }
    throw new Error(`no GGUF type ${type}`);
  }

  #array(elementType, count) {
    return this.uint32(TYPE.array).uint32(elementType).uint64(count);
  }
}

function float32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

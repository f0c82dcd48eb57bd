// The models that are compared: shapes of known models with random weights, and what a step of them must read and compute.

/** @typedef {{ name: string, title: string, hidden: number, layers: number, heads: number, kvHeads: number, headDim: number,
 *   intermediate: number, vocab: number, tied: boolean, contextLength: number, ropeTheta: number, dtype: 'bfloat16' | 'float32' }} Shape */

/** @type {Readonly<Record<string, Shape>>} */
export const SHAPES = {
  '1b': {
    name: 'llama-1b',
    title: 'Llama-3.2-1B shape, bfloat16',
    hidden: 2048,
    layers: 16,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    intermediate: 8192,
    vocab: 128256,
    tied: true,
    contextLength: 4096,
    ropeTheta: 500000,
    dtype: 'bfloat16',
  },
  '160m': {
    name: 'llama-160m',
    title: '160M shape (12 layers, hidden 768), bfloat16',
    hidden: 768,
    layers: 12,
    heads: 12,
    kvHeads: 12,
    headDim: 64,
    intermediate: 2048,
    vocab: 32000,
    tied: false,
    contextLength: 4096,
    ropeTheta: 10000,
    dtype: 'bfloat16',
  },
  '260k': {
    name: 'stories-260k',
    title: 'stories260K shape (5 layers, hidden 64), float32',
    hidden: 64,
    layers: 5,
    heads: 8,
    kvHeads: 4,
    headDim: 8,
    intermediate: 172,
    vocab: 512,
    tied: true,
    contextLength: 4096,
    ropeTheta: 10000,
    dtype: 'float32',
  },
};

export const bytesPerElement = (shape) => (shape.dtype === 'float32' ? 4 : 2);

/** Every tensor under its name in a Hugging Face checkpoint: [rows, cols], or [n] for the gains of a norm. */
export function* tensorsOf(shape) {
  const { hidden, layers, heads, kvHeads, headDim, intermediate, vocab, tied } = shape;
  yield { name: 'model.embed_tokens.weight', dims: [vocab, hidden] };
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    yield { name: `${at}.input_layernorm.weight`, dims: [hidden] };
    yield { name: `${at}.self_attn.q_proj.weight`, dims: [heads * headDim, hidden] };
    yield { name: `${at}.self_attn.k_proj.weight`, dims: [kvHeads * headDim, hidden] };
    yield { name: `${at}.self_attn.v_proj.weight`, dims: [kvHeads * headDim, hidden] };
    yield { name: `${at}.self_attn.o_proj.weight`, dims: [hidden, heads * headDim] };
    yield { name: `${at}.post_attention_layernorm.weight`, dims: [hidden] };
    yield { name: `${at}.mlp.gate_proj.weight`, dims: [intermediate, hidden] };
    yield { name: `${at}.mlp.up_proj.weight`, dims: [intermediate, hidden] };
    yield { name: `${at}.mlp.down_proj.weight`, dims: [hidden, intermediate] };
  }
  yield { name: 'model.norm.weight', dims: [hidden] };
  if (!tied) yield { name: 'lm_head.weight', dims: [vocab, hidden] };
}

/** Multiply-adds of the layers per token, of lm_head per row, and of attention per pair of positions; in operations. */
function operations(shape) {
  const { hidden, layers, heads, kvHeads, headDim, intermediate, vocab } = shape;
  const perLayer = hidden * (2 * heads + 2 * kvHeads) * headDim + 3 * hidden * intermediate;
  return { body: 2 * layers * perLayer, head: 2 * vocab * hidden, pair: 4 * layers * heads * headDim };
}

/** Least work of prefilling `batch` prompts of `input` tokens. Logits of the last position only. */
export function prefillWork(shape, batch, input) {
  const { body, head, pair } = operations(shape);
  const pairs = (input * (input + 1)) / 2;
  return { flops: batch * (body * input + pair * pairs + head), bytes: weightBytes(shape) };
}

/** Least work of one decode step at `context` cached tokens a sequence. */
export function decodeWork(shape, batch, context) {
  const { body, head, pair } = operations(shape);
  const kv = 2 * shape.layers * shape.kvHeads * shape.headDim * context * bytesPerElement(shape);
  return { flops: batch * (body + head + pair * context), bytes: weightBytes(shape) + batch * kv };
}

/** What a step reads of the weights: the layers and lm_head, not the table of an untied embedding. */
function weightBytes(shape) {
  const { body, head } = operations(shape);
  return ((body + head) / 2) * bytesPerElement(shape);
}

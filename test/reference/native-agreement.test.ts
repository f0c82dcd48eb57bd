// The native engine against the float64 decoder, on shapes and switches that no reference model has.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';
import { createRandom } from '../support/random.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { LLAMA, writeRandomModel } from './random-model.js';
import { referenceLogits } from './reference-decoder.js';
import { ENGINE_DEFAULTS } from './reference-files.js';

/** Logits have a standard deviation of 1 to 6; float32 leaves differences of about 1e-6. */
const TOLERANCE = 5e-5;

const of = (architecture: string) => ({ ...LLAMA, architectures: [architecture] });
const MOE = { num_experts: 5, num_experts_per_tok: 3, moe_intermediate_size: 28, head_dim: 8 };

const CASES: Record<string, Record<string, unknown>> = {
  'one kv head': LLAMA,
  'a kv head per head, tied': { ...LLAMA, num_key_value_heads: 5, tie_word_embeddings: true },
  'odd sizes everywhere': { ...LLAMA, hidden_size: 33, intermediate_size: 47, num_attention_heads: 3, head_dim: 10 },
  'sizes around vector widths': { ...LLAMA, hidden_size: 257, intermediate_size: 300, head_dim: 66, vocab_size: 1027 },
  'wide heads': { ...LLAMA, num_attention_heads: 2, head_dim: 256 },
  'all biases': { ...LLAMA, attention_bias: true, mlp_bias: true },
  gelu: { ...LLAMA, hidden_act: 'gelu' },
  'gelu by tanh': { ...LLAMA, hidden_act: 'gelu_pytorch_tanh' },
  'half of the channels rotate': { ...LLAMA, partial_rotary_factor: 0.5 },
  'linear rope': { ...LLAMA, rope_scaling: { type: 'linear', factor: 4 } },
  'dynamic rope, beyond the trained length': {
    ...LLAMA,
    max_position_embeddings: 24,
    rope_scaling: { type: 'dynamic', factor: 4 },
  },
  'yarn rope': { ...LLAMA, rope_scaling: { type: 'yarn', factor: 4, original_max_position_embeddings: 32 } },
  'Mistral, window of one token': { ...of('MistralForCausalLM'), sliding_window: 1 },
  'Qwen2, windows in the upper layers': {
    ...of('Qwen2ForCausalLM'),
    num_hidden_layers: 3,
    use_sliding_window: true,
    sliding_window: 7,
    max_window_layers: 1,
  },
  'Qwen3, alternating windows': {
    ...of('Qwen3ForCausalLM'),
    head_dim: 24,
    attention_bias: true,
    use_sliding_window: true,
    sliding_window: 17,
    layer_types: ['sliding_attention', 'full_attention'],
  },
  'Mixtral with a window, one expert chosen': {
    ...of('MixtralForCausalLM'),
    num_local_experts: 3,
    num_experts_per_tok: 1,
    sliding_window: 20,
  },
  'Qwen3-MoE, weights not normalised': { ...of('Qwen3MoeForCausalLM'), ...MOE, norm_topk_prob: false },
  'Qwen3-MoE, all experts chosen': {
    ...of('Qwen3MoeForCausalLM'),
    ...MOE,
    num_experts_per_tok: 5,
    norm_topk_prob: true,
  },
  'Qwen3-MoE with dense layers': {
    ...of('Qwen3MoeForCausalLM'),
    ...MOE,
    num_hidden_layers: 4,
    decoder_sparse_step: 2,
    mlp_only_layers: [3],
  },
};

for (const [index, [name, config]] of Object.entries(CASES).entries()) {
  test(name, async (t) => {
    const directory = await temporaryDirectory(t);
    await writeRandomModel(directory, config, { seed: index + 1, storedAs: index % 2 === 0 ? 'F32' : 'BF16' });
    const prepared = await prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, dtype: 'float32' });
    const random = createRandom(index);
    const ids = Array.from({ length: 60 }, () => Math.floor(random() * prepared.spec.vocabSize));
    const expected = await referenceLogits(prepared, ids);

    const engine = new TestEngine(prepared);
    t.after(() => engine.close());
    const sequence = new TestSequence(0, engine.blocksFor(0, ids.length));
    // In two steps, so that the second one reads K and V of the first from the cache.
    for (const part of [ids.slice(0, 37), ids.slice(37)]) {
      const start = sequence.length;
      const rows = part.map((_, i) => [i, -1] as const);
      const output = await engine.step([
        sequence.next(part, { rows: rows.slice(-1), flags: REQUEST_FLAG.returnLogits }),
      ]);
      compare(output.logits(0), expected[start + part.length - 1]!, `token ${start + part.length - 1}`);
    }
  });
}

/** Also that the logits are no flat line, which any error would pass. */
function compare(actual: ArrayLike<number>, expected: Float64Array, what: string): void {
  assert.equal(actual.length, expected.length);
  const deviation = Math.sqrt(expected.reduce((sum, logit) => sum + logit * logit, 0) / expected.length);
  assert.ok(deviation > 0.5, `the logits have a standard deviation of ${deviation}`);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    assert.ok(difference <= TOLERANCE, `${what}, logit ${i}: ${actual[i]} instead of ${expected[i]}`);
  }
}

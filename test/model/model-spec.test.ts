import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HfConfig } from '#vitrine/model/hf-config.js';
import { buildModelSpec, readHeadSizes } from '#vitrine/model/model-spec.js';
import { ARCHITECTURES, findArchitecture } from '#vitrine/model/registry.js';
import { readRopeParameters } from '#vitrine/model/rope.js';
import type { ModelSpec } from '#vitrine/native/addon.js';
import { TINY_LLAMA } from './model-folder.js';

const KV_CACHE = { dtype: 'float32', scales: [] } as const;

function spec(values: Record<string, unknown>, architecture = 'LlamaForCausalLM'): ModelSpec {
  const config = new HfConfig({ ...TINY_LLAMA, architectures: [architecture], ...values }, 'config.json');
  const found = findArchitecture(config);
  const heads = readHeadSizes(config, found);
  const rope = readRopeParameters(config, { headDim: heads.headDim, defaultTheta: found.defaults.ropeTheta });
  return buildModelSpec(config, found, heads, rope, 'float32', KV_CACHE);
}

const windows = (values: Record<string, unknown>, architecture: string) =>
  spec(values, architecture).layers.map((layer) => layer.slidingWindow);

test('a plain Llama', () => {
  const { rope, layers, ...rest } = spec({});
  assert.deepEqual(rest, {
    vocabSize: 10,
    hiddenSize: 8,
    intermediateSize: 12,
    numHeads: 4,
    numKvHeads: 2,
    headDim: 2,
    rmsNormEps: 1e-5,
    attentionScale: 2 ** -0.5,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    qkNorm: false,
    activation: 'silu',
    tieWordEmbeddings: false,
    dtype: 'float32',
    kvCache: KV_CACHE,
  });
  assert.equal(rope.rotaryDim, 2);
  assert.deepEqual(layers, [
    { slidingWindow: 0, moe: null },
    { slidingWindow: 0, moe: null },
  ]);
});

test('what transformers assumes where the config is silent', () => {
  const silent = { rms_norm_eps: undefined, tie_word_embeddings: undefined, hidden_act: undefined };
  assert.equal(spec(silent).rmsNormEps, 1e-6);
  assert.equal(
    spec({ ...silent, num_local_experts: 2, num_experts_per_tok: 1 }, 'MixtralForCausalLM').rmsNormEps,
    1e-5,
  );
  assert.equal(spec(silent).tieWordEmbeddings, false);
  assert.equal(spec(silent).activation, 'silu');
  assert.equal(spec({ num_key_value_heads: null }).numKvHeads, 4);
  assert.equal(spec({}, 'Qwen3ForCausalLM').headDim, 128);
  assert.equal(spec({ head_dim: null }, 'Qwen3MoeForCausalLM'.replace('Moe', '')).headDim, 128);
});

test('head_dim is independent of hidden_size / num_attention_heads', () => {
  const wide = spec({ head_dim: 6, num_attention_heads: 3, num_key_value_heads: 1 });
  assert.deepEqual([wide.headDim, wide.numHeads, wide.numKvHeads, wide.attentionScale], [6, 3, 1, 6 ** -0.5]);
});

test('biases and q/k norm by architecture', () => {
  const flags = (values: Record<string, unknown>, name?: string) => {
    const { qkvBias, outputBias, mlpBias, qkNorm } = spec(values, name);
    return [qkvBias, outputBias, mlpBias, qkNorm];
  };
  assert.deepEqual(flags({ attention_bias: true, mlp_bias: true }), [true, true, true, false]);
  assert.deepEqual(flags({}, 'Qwen2ForCausalLM'), [true, false, false, false]);
  assert.deepEqual(flags({ attention_bias: true }, 'Qwen3ForCausalLM'), [true, true, false, true]);
  assert.deepEqual(flags({ attention_bias: true, mlp_bias: true }, 'MistralForCausalLM'), [false, false, false, false]);
});

test('activations', () => {
  const names = { silu: 'silu', swish: 'silu', gelu: 'gelu', gelu_new: 'gelu_tanh', gelu_pytorch_tanh: 'gelu_tanh' };
  for (const [name, activation] of Object.entries(names)) {
    assert.equal(spec({ hidden_act: name }).activation, activation);
  }
  for (const name of ['relu', 'toString']) {
    assert.throws(() => spec({ hidden_act: name }), {
      code: 'MODEL_UNSUPPORTED',
      message: new RegExp(`hidden_act "${name}" is not supported; supported are silu, swish, gelu`),
    });
  }
});

describe('sliding windows', () => {
  test('Llama has none, whatever the config says', () => {
    assert.deepEqual(windows({ sliding_window: 4 }, 'LlamaForCausalLM'), [0, 0]);
  });

  test('Mistral: every layer; null turns it off; 4096 where the config is silent', () => {
    assert.deepEqual(windows({ sliding_window: 4 }, 'MistralForCausalLM'), [4, 4]);
    assert.deepEqual(windows({ sliding_window: null }, 'MistralForCausalLM'), [0, 0]);
    assert.deepEqual(windows({}, 'MistralForCausalLM'), [4096, 4096]);
  });

  test('Qwen2 and Qwen3: only with use_sliding_window, from max_window_layers on', () => {
    for (const name of ['Qwen2ForCausalLM', 'Qwen3ForCausalLM']) {
      assert.deepEqual(windows({ sliding_window: 4 }, name), [0, 0]);
      const on = { sliding_window: 4, use_sliding_window: true };
      assert.deepEqual(windows(on, name), [0, 0], 'max_window_layers is 28 by default');
      assert.deepEqual(windows({ ...on, max_window_layers: 1 }, name), [0, 4]);
      assert.deepEqual(windows({ ...on, max_window_layers: 0, sliding_window: null }, name), [0, 0]);
    }
  });

  test('layer_types decides where there is a window', () => {
    const layer_types = ['sliding_attention', 'full_attention'];
    const on = { sliding_window: 4, use_sliding_window: true, max_window_layers: 0, layer_types };
    assert.deepEqual(windows(on, 'Qwen3ForCausalLM'), [4, 0]);
    assert.deepEqual(windows({ ...on, use_sliding_window: false }, 'Qwen3ForCausalLM'), [0, 0]);
    assert.deepEqual(windows({ sliding_window: 4, layer_types }, 'MistralForCausalLM'), [4, 0]);
    for (const wrong of [['full_attention'], ['full_attention', 'linear_attention']]) {
      assert.throws(() => windows({ ...on, layer_types: wrong }, 'Qwen3ForCausalLM'), {
        code: 'MODEL_INVALID',
        message: /"layer_types" must be 2 words \(num_hidden_layers\), each full_attention or sliding_attention/,
      });
    }
  });

  test('Qwen3-MoE: every layer, with use_sliding_window', () => {
    const moe = { num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 6, sliding_window: 4 };
    assert.deepEqual(windows({ ...moe, max_window_layers: 9 }, 'Qwen3MoeForCausalLM'), [0, 0]);
    assert.deepEqual(windows({ ...moe, use_sliding_window: true }, 'Qwen3MoeForCausalLM'), [4, 4]);
  });

  test('a window of 0 is refused', () => {
    assert.throws(
      () => windows({ sliding_window: 0 }, 'MistralForCausalLM'),
      /"sliding_window" must be an integer of at least 1/,
    );
  });
});

describe('mixture of experts', () => {
  const moeOf = (values: Record<string, unknown>, name: string) => spec(values, name).layers.map((layer) => layer.moe);
  const qwen = { num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 6 };

  test('Mixtral', () => {
    const moe = { numExperts: 3, topK: 2, normTopkProb: true, intermediateSize: 12, module: 'block_sparse_moe' };
    assert.deepEqual(moeOf({ num_local_experts: 3, num_experts_per_tok: 2 }, 'MixtralForCausalLM'), [moe, moe]);
  });

  test('Qwen3-MoE: norm_topk_prob, decoder_sparse_step, mlp_only_layers', () => {
    const moe = { numExperts: 4, topK: 2, normTopkProb: false, intermediateSize: 6, module: 'mlp' };
    const normed = { ...moe, normTopkProb: true };
    const name = 'Qwen3MoeForCausalLM';
    assert.deepEqual(moeOf(qwen, name), [moe, moe]);
    assert.deepEqual(moeOf({ ...qwen, norm_topk_prob: true }, name), [normed, normed]);
    assert.deepEqual(moeOf({ ...qwen, decoder_sparse_step: 2 }, name), [null, moe]);
    assert.deepEqual(moeOf({ ...qwen, mlp_only_layers: [1] }, name), [moe, null]);
  });

  test('intermediate_size may be missing only when no layer is dense', () => {
    const name = 'Qwen3MoeForCausalLM';
    assert.equal(spec({ ...qwen, intermediate_size: undefined }, name).intermediateSize, 6);
    assert.throws(() => spec({ ...qwen, intermediate_size: undefined, mlp_only_layers: [0] }, name), {
      message: /"intermediate_size" must be an integer of at least 1, got nothing/,
    });
  });

  test('more experts per token than experts are refused', () => {
    assert.throws(() => spec({ ...qwen, num_experts_per_tok: 5 }, 'Qwen3MoeForCausalLM'), {
      code: 'MODEL_INVALID',
      message: /"num_experts_per_tok" must be an integer between 1 and 4, got number 5/,
    });
  });
});

for (const key of ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'vocab_size', 'intermediate_size']) {
  test(`refuses a config without ${key}`, () => {
    assert.throws(() => spec({ [key]: undefined }), {
      code: 'MODEL_INVALID',
      param: key,
      message: `config.json: "${key}" must be an integer of at least 1, got nothing.`,
    });
  });
}

test('refuses head counts that do not divide', () => {
  assert.throws(
    () => spec({ num_key_value_heads: 3 }),
    /"num_key_value_heads" must be a divisor of num_attention_heads \(4\)/,
  );
  assert.throws(
    () => spec({ num_attention_heads: 6 }),
    /"hidden_size" must be a multiple of num_attention_heads \(6\)/,
  );
});

describe('the registry', () => {
  const find = (values: Record<string, unknown>) => findArchitecture(new HfConfig(values, 'config.json'));

  test('finds by architectures, or by model_type', () => {
    for (const architecture of ARCHITECTURES) {
      assert.equal(find({ architectures: ['Other', architecture.name] }), architecture);
      assert.equal(find({ model_type: architecture.modelType }), architecture);
    }
  });

  test('an unsupported architecture is refused with the supported ones', () => {
    const list =
      'LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM';
    assert.throws(() => find({ architectures: ['GPT2LMHeadModel'], model_type: 'llama' }), {
      code: 'MODEL_UNSUPPORTED',
      message: `config.json asks for GPT2LMHeadModel, which is not supported; supported are ${list}.`,
    });
    assert.throws(() => find({ model_type: 'gpt2' }), { code: 'MODEL_UNSUPPORTED', message: new RegExp(list) });
    assert.throws(() => find({ architectures: [] }), {
      code: 'MODEL_UNSUPPORTED',
      message: /asks for no architecture/,
    });
    assert.throws(() => find({}), {
      code: 'MODEL_INVALID',
      message: /"architectures" must be an array with one of Llama/,
    });
    assert.throws(() => find({ architectures: 'LlamaForCausalLM' }), /"architectures" must be an array of strings/);
  });
});

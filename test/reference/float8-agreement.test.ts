// Models with float8 weights through the real addon, against the float64 decoder that quantizes weights and activations by
// code of its own. Rounding to 8 bits is a step: where float32 and float64 fall on different sides of one, a code differs by
// a sixteenth of itself. So logits may differ by what a few such steps make, far less than all of them together do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import type { ModelSpec } from '#vitrine/native/addon.js';
import { loadAddon } from '#vitrine/native/load.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';
import { createRandom } from '../support/random.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { LLAMA, writeRandomModel } from './random-model.js';
import { ReferenceDecoder, referenceLogits } from './reference-decoder.js';
import { ENGINE_DEFAULTS } from './reference-files.js';

/** Of the deviation of the logits: the root mean square of the differences. */
const TOLERANCE = 4e-3;
/** What the same without float8 differs by, at least. */
const EFFECT = 2e-2;

const FLOAT = { num_bits: 8, type: 'float', symmetric: true };
const COMPRESSED = {
  quant_method: 'compressed-tensors',
  format: 'float-quantized',
  ignore: ['lm_head', 're:model\\.layers\\.1\\.self_attn\\..*'],
  config_groups: {
    group_0: {
      targets: ['Linear'],
      weights: { ...FLOAT, strategy: 'channel', dynamic: false },
      input_activations: { ...FLOAT, strategy: 'token', dynamic: true },
    },
  },
};

interface Case {
  readonly config: Readonly<Record<string, unknown>>;
  readonly quantization?: 'fp8' | 'w8a8_fp8';
  readonly stored?: NonNullable<Parameters<typeof writeRandomModel>[2]>;
}

const CASES: Record<string, Case> = {
  'float32 weights, --quantization fp8': { config: LLAMA, quantization: 'fp8' },
  'bfloat16 weights, --quantization w8a8_fp8, odd sizes, all biases': {
    config: {
      ...LLAMA,
      ...{ hidden_size: 67, intermediate_size: 97, num_attention_heads: 3, head_dim: 10 },
      ...{ attention_bias: true, mlp_bias: true, tie_word_embeddings: true },
    },
    quantization: 'w8a8_fp8',
    stored: { storedAs: 'BF16' },
  },
  'fp8 checkpoint, a scale for each tensor, q/k norm': {
    config: {
      ...LLAMA,
      ...{ architectures: ['Qwen3ForCausalLM'], head_dim: 24 },
      quantization_config: { quant_method: 'fp8', activation_scheme: 'static' },
    },
  },
  'compressed-tensors, a scale for each row, attention of a layer left out': {
    config: { ...LLAMA, quantization_config: COMPRESSED },
    stored: { scales: 'row', storedAs: 'BF16' },
  },
};

const withoutFloat8 = (spec: ModelSpec): ModelSpec => ({
  ...spec,
  layers: spec.layers.map(({ float8: _, ...layer }) => layer),
});

for (const [index, [name, { config, quantization, stored }]] of Object.entries(CASES).entries()) {
  test(name, async (t) => {
    const directory = await temporaryDirectory(t);
    await writeRandomModel(directory, config, { seed: index + 1, ...stored });
    const prepared = await prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, dtype: 'float32', quantization });
    const random = createRandom(index);
    const ids = Array.from({ length: 24 }, () => Math.floor(random() * prepared.spec.vocabSize));
    const expected = (await referenceLogits(prepared, ids)).at(-1)!;
    const deviation = rootMeanSquare(expected);

    const decoder = await ReferenceDecoder.load(prepared);
    const plain = decoder.withSpec(withoutFloat8(prepared.spec)).extend(ids).at(-1)!;
    const effect = distance(plain, expected) / deviation;
    assert.ok(effect > EFFECT, `without quantized activations the logits differ by ${effect} only`);

    for (const cpuIsa of loadAddon().buildInfo().cpuIsas) {
      const engine = new TestEngine(prepared, { cpuIsa });
      try {
        const sequence = new TestSequence(0, engine.blocksFor(0, ids.length));
        await engine.step([sequence.next(ids.slice(0, 15), { rows: [] })]);
        const output = await engine.step([sequence.next(ids.slice(15), { flags: REQUEST_FLAG.returnLogits })]);
        const difference = distance(output.logits(0), expected) / deviation;
        assert.ok(difference <= TOLERANCE, `${cpuIsa}: the logits differ by ${difference} of their deviation`);
      } finally {
        engine.close();
      }
    }
  });
}

function rootMeanSquare(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);
}

function distance(a: ArrayLike<number>, b: Float64Array): number {
  return rootMeanSquare(b.map((value, i) => a[i]! - value));
}

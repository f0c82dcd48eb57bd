// Which weights are float8, by --quantization and by what checkpoints say of themselves.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import type { TensorPiece } from '#vitrine/native/addon.js';
import { ENGINE_DEFAULTS, prepareReferenceModel } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { type TestTensor, TINY_LLAMA, tinyLlamaTensors, writeModel } from './model-folder.js';

const ALL = ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'];

/** TINY_LLAMA's tensors, those of linear layers as float8 but for `left`. `scaleShape`: of a matrix of so many rows. */
function float8Tensors(scaleShape: (rows: number) => number[], left: readonly string[] = []): TestTensor[] {
  return tinyLlamaTensors('BF16').flatMap((tensor) => {
    if (!/_proj\.weight$/.test(tensor.name) || left.some((module) => tensor.name.startsWith(module))) return [tensor];
    const scale = { name: `${tensor.name}_scale`, shape: scaleShape(tensor.shape[0]!), dtype: 'F32' };
    return [{ ...tensor, dtype: 'F8_E4M3' }, scale];
  });
}

const perTensor = (left?: readonly string[]): TestTensor[] => float8Tensors(() => [], left);
const perRow = (left?: readonly string[]): TestTensor[] => float8Tensors((rows) => [rows, 1], left);

const FP8 = { quant_method: 'fp8', activation_scheme: 'dynamic' };
const FLOAT = { num_bits: 8, type: 'float', symmetric: true };
const GROUP = {
  targets: ['Linear'],
  weights: { ...FLOAT, strategy: 'channel', dynamic: false },
  input_activations: { ...FLOAT, strategy: 'token', dynamic: true },
};
const COMPRESSED = {
  quant_method: 'compressed-tensors',
  format: 'float-quantized',
  config_groups: { group_0: GROUP },
  ignore: ['lm_head'],
};

async function prepare(
  t: TestContext,
  settings: unknown,
  tensors: readonly TestTensor[] = perTensor(),
  quantization?: 'fp8' | 'w8a8_fp8' | 'compressed-tensors',
) {
  const directory = await temporaryDirectory(t);
  const more = settings === undefined ? {} : { quantization_config: settings };
  await writeModel(directory, { ...TINY_LLAMA, ...more }, tensors);
  return prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, quantization });
}

describe('weights that are quantized as they are loaded', () => {
  for (const quantization of ['fp8', 'w8a8_fp8'] as const) {
    test(`--quantization ${quantization}: the linear layers, from weights as they are stored`, async (t) => {
      const prepared = await prepare(t, undefined, tinyLlamaTensors('BF16'), quantization);
      const { spec, loadPlan } = prepared;
      assert.equal(prepared.quantization, quantization);
      assert.deepEqual(
        spec.layers.map(({ float8 }) => float8),
        [ALL, ALL],
      );
      assert.equal(spec.dtype, 'float32'); // as config.json says
      for (const { pieces } of loadPlan.parameters) {
        for (const { dtype, scales } of pieces) assert.deepEqual([dtype, scales], ['bfloat16', undefined]);
      }
    });
  }

  test('without the option nothing is', async (t) => {
    const { spec, quantization } = await prepare(t, undefined, tinyLlamaTensors());
    assert.equal(quantization, null);
    assert.ok(spec.layers.every(({ float8 }) => float8 === undefined));
  });

  test('compressed-tensors needs such a checkpoint', async (t) => {
    await assert.rejects(prepare(t, undefined, tinyLlamaTensors(), 'compressed-tensors'), {
      code: 'INVALID_OPTION',
      param: '--quantization',
      message: /config\.json has no quantization_config.*choose fp8 or w8a8_fp8/,
    });
  });
});

describe('checkpoints that are quantized', () => {
  const pieceOf = async (t: TestContext, settings: unknown, tensors: readonly TestTensor[], name: string) => {
    const { loadPlan } = await prepare(t, settings, tensors);
    return loadPlan.parameters.find((parameter) => parameter.name === name)!.pieces;
  };
  const shown = ({ dtype, rows, scales }: TensorPiece) => [dtype, rows, scales?.source, scales?.count, scales?.dtype];

  test('fp8: a scale for each tensor', async (t) => {
    assert.deepEqual((await pieceOf(t, FP8, perTensor(), 'layers.1.qkv_proj')).map(shown), [
      ['float8_e4m3fn', 8, 'model.layers.1.self_attn.q_proj.weight_scale', 1, 'float32'],
      ['float8_e4m3fn', 4, 'model.layers.1.self_attn.k_proj.weight_scale', 1, 'float32'],
      ['float8_e4m3fn', 4, 'model.layers.1.self_attn.v_proj.weight_scale', 1, 'float32'],
    ]);
    assert.deepEqual((await pieceOf(t, FP8, perTensor(), 'lm_head')).map(shown), [
      ['bfloat16', 10, undefined, undefined, undefined],
    ]);
  });

  test('compressed-tensors: a scale for each row', async (t) => {
    const [piece] = await pieceOf(t, COMPRESSED, perRow(), 'layers.0.down_proj');
    assert.deepEqual(shown(piece!), ['float8_e4m3fn', 8, 'model.layers.0.mlp.down_proj.weight_scale', 8, 'float32']);
    assert.equal(piece!.scales!.offset, piece!.offset + 8 * 12);
  });

  test('modules that are left out stay as they are', async (t) => {
    const left = [
      'model.layers.0.self_attn.q_proj',
      'model.layers.0.self_attn.k_proj',
      'model.layers.0.self_attn.v_proj',
    ];
    const some = ['o_proj', 'gate_up_proj', 'down_proj'];
    const bare = left.map((name) => name.replace('model.', ''));
    for (const [settings, tensors] of [
      [{ ...FP8, ignored_layers: left }, perTensor(left)],
      [{ ...FP8, modules_to_not_convert: bare }, perTensor(left)],
      [{ ...COMPRESSED, ignore: [...left, 'lm_head'] }, perRow(left)],
      [{ ...COMPRESSED, ignore: ['re:.*layers\\.0\\.self_attn\\.[qkv]_proj', 're:self_attn'] }, perRow(left)],
    ] as const) {
      const { spec } = await prepare(t, settings, tensors);
      assert.deepEqual(
        spec.layers.map(({ float8 }) => float8),
        [some, ALL],
      );
    }
  });

  test('fp8: names of modules match whole parts between dots', async (t) => {
    const attention = [0, 1].map((layer) => `model.layers.${layer}.self_attn`);
    const mlp = ['gate_up_proj', 'down_proj'];
    for (const [ignored, left, expected] of [
      [['self_attn'], attention, [mlp, mlp]],
      [['model.layers.0'], ['model.layers.0'], [[], ALL]],
      [['layers.0.'], ['model.layers.0'], [[], ALL]],
      [['mlp.gate', 'attn', 'ayers'], [], [ALL, ALL]],
    ] as const) {
      const { spec } = await prepare(t, { ...FP8, modules_to_not_convert: ignored }, perTensor(left));
      assert.deepEqual(
        spec.layers.map(({ float8 }) => float8),
        expected,
      );
    }
  });

  test('compressed-tensors: under its own key, too', async (t) => {
    const directory = await temporaryDirectory(t);
    await writeModel(directory, { ...TINY_LLAMA, compression_config: COMPRESSED }, perRow());
    const { spec } = await prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory });
    assert.deepEqual(spec.layers[0]!.float8, ALL);
  });

  test('a part of what is one matrix cannot be left out', async (t) => {
    await assert.rejects(prepare(t, { ...FP8, ignored_layers: ['model.layers.1.mlp.up_proj'] }), {
      code: 'MODEL_UNSUPPORTED',
      message: /leaves out model\.layers\.1\.mlp\.up_proj, but not all of model\.layers\.1\.mlp\.gate_proj, model/,
    });
  });

  test('scales of activations and of the KV cache are there for others', async (t) => {
    const more = ['input_scale', 'k_scale'].map((name) => ({
      name: `model.layers.0.self_attn.k_proj.${name}`,
      shape: [1],
    }));
    const settings = { ...FP8, activation_scheme: 'static' };
    assert.deepEqual((await prepare(t, settings, [...perTensor(), ...more])).spec.layers[0]!.float8, ALL);
    await assert.rejects(prepare(t, undefined, [...tinyLlamaTensors(), ...more]), /input_scale.*no place in the model/);
  });

  test('the option may say the same, and nothing else', async (t) => {
    const method = async (...given: [unknown, TestTensor[], Parameters<typeof prepare>[3]?]) =>
      (await prepare(t, ...given)).quantization;
    assert.equal(await method(FP8, perTensor(), 'fp8'), 'fp8');
    assert.equal(await method(FP8, perTensor()), 'fp8');
    assert.equal(await method(COMPRESSED, perRow(), 'compressed-tensors'), 'compressed-tensors');
    assert.equal(await method(COMPRESSED, perRow(), 'w8a8_fp8'), 'w8a8_fp8');
    assert.equal(await method(COMPRESSED, perRow()), 'compressed-tensors');
    assert.equal(await method({ quant_method: 'w8a8_fp8' }, perRow(), 'w8a8_fp8'), 'w8a8_fp8');
    for (const [settings, option] of [
      [FP8, 'w8a8_fp8'],
      [COMPRESSED, 'fp8'],
    ] as const) {
      await assert.rejects(prepare(t, settings, perTensor(), option), {
        code: 'INVALID_OPTION',
        param: '--quantization',
        message: new RegExp(`^--quantization ${option} does not go with this checkpoint`),
      });
    }
  });

  test('dummy weights are quantized as they are made', async (t) => {
    const directory = await temporaryDirectory(t);
    await writeModel(directory, { ...TINY_LLAMA, quantization_config: FP8 }, null);
    const { spec } = await prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, loadFormat: 'dummy' });
    assert.deepEqual(spec.layers[1]!.float8, ALL);
  });
});

describe('what is not supported is refused by name', () => {
  const unsupported: Record<string, readonly [settings: unknown, message: RegExp]> = {
    'another method': [
      { quant_method: 'gptq', bits: 4 },
      /the checkpoint is quantized \(gptq\); supported are fp8, w8a8_fp8/,
    ],
    blocks: [{ ...FP8, weight_block_size: [128, 128] }, /weight_block_size: weights with a scale for each block/],
    'another activation scheme': [{ ...FP8, activation_scheme: 'none' }, /activation_scheme: "none" is not supported/],
    integers: [
      { ...COMPRESSED, config_groups: { group_0: { ...GROUP, weights: { ...GROUP.weights, type: 'int' } } } },
      /weights: num_bits: only 8-bit floats are supported, got 8 bits of type int/,
    ],
    'packed weights': [{ ...COMPRESSED, format: 'pack-quantized' }, /format: "pack-quantized" is not supported/],
    'groups of weights': [
      { ...COMPRESSED, config_groups: { group_0: { ...GROUP, weights: { ...GROUP.weights, strategy: 'block' } } } },
      /weights: strategy: "block" is not supported/,
    ],
    'two schemes': [
      { ...COMPRESSED, config_groups: { a: GROUP, b: GROUP } },
      /one group of layers is supported, got 2/,
    ],
    'other targets': [
      { ...COMPRESSED, config_groups: { a: { ...GROUP, targets: ['re:.*down_proj'] } } },
      /targets: only \["Linear"\] is supported/,
    ],
    transforms: [{ ...COMPRESSED, transform_config: { config_groups: {} } }, /transform_config: transforms of weights/],
    'outputs in 8 bits': [
      { ...COMPRESSED, config_groups: { a: { ...GROUP, output_activations: FLOAT } } },
      /output_activations: outputs that are quantized/,
    ],
    'weights alone': [
      { ...COMPRESSED, config_groups: { a: { ...GROUP, input_activations: null } } },
      /input_activations: activations that are not quantized/,
    ],
  };
  for (const [name, [settings, message]] of Object.entries(unsupported)) {
    test(name, (t) => assert.rejects(prepare(t, settings), { code: 'MODEL_UNSUPPORTED', message }));
  }

  test('a mixture of experts', async () => {
    await assert.rejects(prepareReferenceModel('tiny-mixtral', { quantization: 'fp8' }), {
      code: 'MODEL_UNSUPPORTED',
      message: /float8 weights are not supported for mixtures of experts\. Leave out --quantization\.$/,
    });
    const overrides = { jsonModelOverrideArgs: { quantization_config: FP8 } };
    await assert.rejects(prepareReferenceModel('tiny-mixtral', overrides), {
      code: 'MODEL_UNSUPPORTED',
      param: 'quantization_config',
      message: /for mixtures of experts\. Choose a checkpoint that is not quantized\.$/,
    });
  });

  test('tensors that are not what the config says', async (t) => {
    const without = perTensor().filter(({ name }) => name !== 'model.layers.0.mlp.up_proj.weight_scale');
    await assert.rejects(prepare(t, FP8, without), {
      code: 'MODEL_INVALID',
      message: /tensor "model\.layers\.0\.mlp\.up_proj\.weight_scale" is missing/,
    });
    await assert.rejects(
      prepare(
        t,
        FP8,
        float8Tensors(() => [2]),
      ),
      {
        code: 'MODEL_INVALID',
        message: /q_proj\.weight_scale" has shape \[2\]; expected one scale, or 8 for the rows/,
      },
    );
    const plain = perTensor().map((tensor) => (tensor.dtype === 'F8_E4M3' ? { ...tensor, dtype: 'BF16' } : tensor));
    await assert.rejects(prepare(t, FP8, plain), {
      code: 'MODEL_UNSUPPORTED',
      message: /q_proj\.weight" is stored as BF16; supported is F8_E4M3/,
    });
    await assert.rejects(prepare(t, undefined, perTensor()), {
      code: 'MODEL_INVALID',
      message: /no place in the model/,
    });
    await assert.rejects(prepare(t, { ...COMPRESSED, ignore: ['re:('] }, perRow()), {
      code: 'MODEL_INVALID',
      message: /"ignore" must be names or regular expressions \(not re:\(\)/,
    });
  });
});

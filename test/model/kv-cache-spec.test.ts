// --kv-cache-dtype and the scales of checkpoints: names, types, what is refused.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { ENGINE_DEFAULTS } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { safetensorsBytes, TINY_LLAMA, tinyLlamaTensors, writeJson, writeModel } from './model-folder.js';

type Options = Partial<Parameters<typeof prepareModel>[0]>;

interface Scale {
  /** After `model.layers.`. */
  readonly name: string;
  readonly bytes: Buffer;
  /** Default F32. */
  readonly dtype?: string;
  /** Default []. */
  readonly shape?: readonly number[];
}

const float = (value: number) => Buffer.from(Float32Array.of(value).buffer);
const word = (bits: number) => Buffer.from(Uint16Array.of(bits).buffer);

/** TINY_LLAMA (two layers) with these scales. */
async function specOf(t: TestContext, scales: readonly Scale[], options: Options = { kvCacheDtype: 'fp8_e4m3' }) {
  const directory = await temporaryDirectory(t);
  await writeJson(directory, 'config.json', TINY_LLAMA);
  const tensors = scales.map(({ name, shape = [], dtype = 'F32' }) => ({ name: `model.layers.${name}`, shape, dtype }));
  const file = safetensorsBytes([...tinyLlamaTensors(), ...tensors]);
  const data = Buffer.concat(scales.map(({ bytes }) => bytes));
  data.copy(file, file.length - data.length);
  await writeFile(join(directory, 'model.safetensors'), file);
  return (await prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, ...options })).spec.kvCache;
}

test('auto keeps the dtype of the weights; others are chosen by SGLang’s names', async (t) => {
  const dtypes = [];
  for (const kvCacheDtype of ['auto', 'fp8_e4m3', 'bf16', 'bfloat16'] as const) {
    dtypes.push((await specOf(t, [], { dtype: 'float16', kvCacheDtype })).dtype);
  }
  assert.deepEqual(dtypes, ['float16', 'float8_e4m3fn', 'bfloat16', 'bfloat16']);
});

describe('scales', () => {
  test('by each of their names', async (t) => {
    const pairs = [
      ['k_scale', 'v_scale'],
      ['attn.k_scale', 'attn.v_scale'],
      ['k_proj.k_scale', 'v_proj.v_scale'],
    ] as const;
    for (const [k, v] of pairs) {
      const scales = [
        { name: `1.self_attn.${k}`, bytes: float(0.25) },
        { name: `1.self_attn.${v}`, bytes: float(0.5), shape: [1] },
        { name: `0.self_attn.${k}`, bytes: float(4) },
        { name: `0.self_attn.${v}`, bytes: float(5) },
      ];
      assert.deepEqual((await specOf(t, scales)).scales, [
        { k: 4, v: 5 },
        { k: 0.25, v: 0.5 },
      ]);
    }
    const shared = [
      { name: '0.self_attn.kv_scale', bytes: float(2) },
      { name: '1.self_attn.v_scale', bytes: float(3) },
    ];
    assert.deepEqual((await specOf(t, shared)).scales, [
      { k: 2, v: 2 },
      { k: 3, v: 3 },
    ]);
  });

  test('in 16 bits', async (t) => {
    const scales = [
      { name: '0.self_attn.k_scale', dtype: 'BF16', bytes: word(0x3e20) },
      { name: '0.self_attn.v_scale', dtype: 'F16', bytes: word(0x3555) },
      { name: '1.self_attn.k_scale', dtype: 'F16', bytes: word(0x0003) },
    ];
    const tiny = 3 * 2 ** -24;
    assert.deepEqual((await specOf(t, scales)).scales, [
      { k: 0.15625, v: 0.333251953125 },
      { k: tiny, v: tiny },
    ]);
  });

  test('are not needed, and play no part in other dtypes and dummy weights', async (t) => {
    assert.deepEqual((await specOf(t, [])).scales, []);
    const scales = [{ name: '0.self_attn.k_scale', bytes: float(0.25) }];
    assert.deepEqual(await specOf(t, scales, {}), { dtype: 'float32', scales: [] });
    const dummy = { kvCacheDtype: 'fp8_e4m3', loadFormat: 'dummy' } as const;
    assert.deepEqual(await specOf(t, scales, dummy), { dtype: 'float8_e4m3fn', scales: [] });
  });

  test('that cannot be one are refused', async (t) => {
    const refused = (scale: Scale, code: string, message: RegExp) =>
      assert.rejects(specOf(t, [scale]), { code, message });
    const name = '1.self_attn.k_scale';
    const tensor = String.raw`model\.safetensors: tensor "model\.layers\.1\.self_attn\.k_scale"`;
    for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const message = new RegExp(`${tensor} must be a positive number, got ${value}\\.$`);
      await refused({ name, bytes: float(value) }, 'MODEL_INVALID', message);
    }
    const two = Buffer.concat([float(1), float(1)]);
    await refused(
      { name, bytes: two, shape: [2] },
      'MODEL_UNSUPPORTED',
      new RegExp(`${tensor} has shape \\[2\\]; one scale a layer is supported`),
    );
    await refused(
      { name, bytes: Buffer.from([1]), dtype: 'I8' },
      'MODEL_UNSUPPORTED',
      new RegExp(`${tensor} is stored as I8; supported are F32, F16, BF16`),
    );
    await refused(
      { name: '2.self_attn.k_scale', bytes: float(1) },
      'MODEL_INVALID',
      /layers\.2\.self_attn\.k_scale" is of a layer that the model with 2 does not have/,
    );
  });

  test('whose reciprocal is not finite in float32 is refused', async (t) => {
    const both = (value: number) => [
      { name: '0.self_attn.kv_scale', bytes: float(value) },
      { name: '1.self_attn.kv_scale', bytes: float(1) },
    ];
    await assert.rejects(specOf(t, both(2 ** -128)), {
      code: 'MODEL_INVALID',
      message: /layers\.0\.self_attn\.kv_scale" must have a reciprocal that is finite in float32, got 2\.9/,
    });
    assert.equal((await specOf(t, both(2 ** -127))).scales[0]!.k, 2 ** -127);
  });

  test('of some layers and not of others are refused', async (t) => {
    await assert.rejects(specOf(t, [{ name: '1.self_attn.k_scale', bytes: float(2) }]), {
      code: 'MODEL_INVALID',
      message: /scales of the KV cache .* for some layers, and none for 0\.$/,
    });
  });

  test('of one thing under two names must agree', async (t) => {
    const scales = (second: number) => [
      { name: '0.self_attn.k_scale', bytes: float(2) },
      { name: '0.self_attn.k_proj.k_scale', bytes: float(second) },
      { name: '1.self_attn.kv_scale', bytes: float(3) },
    ];
    assert.deepEqual((await specOf(t, scales(2))).scales[0], { k: 2, v: 2 });
    await assert.rejects(specOf(t, scales(4)), {
      code: 'MODEL_INVALID',
      message: /k_scale" is \d, and another tensor says \d of the same k scale/,
    });
  });

  test('a name that is like one is still a surplus tensor', async (t) => {
    const directory = await temporaryDirectory(t);
    const tensors = [...tinyLlamaTensors(), { name: 'model.layers.0.self_attn.q_proj.k_scale', shape: [] }];
    await writeModel(directory, TINY_LLAMA, tensors);
    const options = { ...ENGINE_DEFAULTS, modelPath: directory, kvCacheDtype: 'fp8_e4m3' } as const;
    await assert.rejects(prepareModel(options), /"model\.layers\.0\.self_attn\.q_proj\.k_scale" has no place/);
  });
});

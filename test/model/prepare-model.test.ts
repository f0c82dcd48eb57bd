import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { ENGINE_DEFAULTS, modelDirectory, prepareReferenceModel } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { TINY_LLAMA, tinyLlamaTensors, writeJson, writeModel } from './model-folder.js';

type Options = Partial<Parameters<typeof prepareModel>[0]>;

async function prepare(t: TestContext, config: Record<string, unknown>, options: Options = {}, dtype = 'F32') {
  const directory = await temporaryDirectory(t);
  await writeModel(directory, { ...TINY_LLAMA, ...config }, tinyLlamaTensors(dtype));
  return prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, ...options });
}

test('describes a model', async () => {
  const prepared = await prepareReferenceModel('tiny-qwen3-moe');
  assert.equal(prepared.directory, modelDirectory('tiny-qwen3-moe'));
  assert.equal(prepared.architecture, 'Qwen3MoeForCausalLM');
  assert.equal(prepared.modelType, 'qwen3_moe');
  assert.equal(prepared.config.num_experts, 8);
  assert.equal(prepared.contextLength, 512);
  assert.deepEqual(prepared.eosTokenIds, [509, 507]);
  assert.equal(prepared.generationDefaults.do_sample, false);
  assert.equal(prepared.spec.layers[0]!.moe!.numExperts, 8);
});

describe('dtype', () => {
  const dtypeOf = async (t: TestContext, config: Record<string, unknown>, options: Options = {}, stored = 'F32') =>
    (await prepare(t, config, options, stored)).spec.dtype;
  const silent = { torch_dtype: undefined };

  test('auto: what the config says, by either name', async (t) => {
    assert.equal(await dtypeOf(t, { torch_dtype: 'bfloat16' }), 'bfloat16');
    assert.equal(await dtypeOf(t, { dtype: 'float16', torch_dtype: 'bfloat16' }), 'float16');
    assert.equal(await dtypeOf(t, { torch_dtype: 'torch.float16' }), 'float16');
  });

  test('auto: what the tensors are stored as, where the config is silent', async (t) => {
    assert.equal(await dtypeOf(t, silent, {}, 'F16'), 'float16');
    assert.equal(await dtypeOf(t, { torch_dtype: 'auto' }, {}, 'BF16'), 'bfloat16');
    assert.equal(await dtypeOf(t, silent, { loadFormat: 'dummy' }), 'bfloat16');
  });

  test('--dtype wins', async (t) => {
    assert.equal(await dtypeOf(t, {}, { dtype: 'half' }), 'float16');
    assert.equal(await dtypeOf(t, { torch_dtype: 'float64' }, { dtype: 'float' }), 'float32');
  });

  test('others are refused', async (t) => {
    await assert.rejects(prepare(t, { torch_dtype: 'float64' }), {
      code: 'MODEL_UNSUPPORTED',
      message: /torch_dtype "float64" is not supported; set --dtype to float32, float16 or bfloat16/,
    });
    await assert.rejects(prepare(t, { dtype: 16 }), {
      code: 'MODEL_INVALID',
      message: /"dtype" must be a string, got number 16/,
    });
  });
});

describe('context length', () => {
  test('the option shortens it', async (t) => {
    assert.equal((await prepare(t, {})).contextLength, 64);
    assert.equal((await prepare(t, {}, { contextLength: 10 })).contextLength, 10);
  });

  test('beyond what the model was made for is refused with both numbers', async (t) => {
    await assert.rejects(prepare(t, {}, { contextLength: 65 }), {
      code: 'INVALID_OPTION',
      param: '--context-length',
      message: /^--context-length 65 is longer than the 64 tokens that .*config\.json allows/,
    });
    const longer = { contextLength: 65, jsonModelOverrideArgs: { max_position_embeddings: 128 } };
    assert.equal((await prepare(t, {}, longer)).contextLength, 65);
  });

  test('a yarn override that names the original length allows what its factor reaches', async (t) => {
    const rope_scaling = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64 };
    const override = { jsonModelOverrideArgs: { rope_scaling } };
    assert.equal((await prepare(t, {}, override)).contextLength, 64);
    assert.equal((await prepare(t, {}, { ...override, contextLength: 256 })).contextLength, 256);
    await assert.rejects(prepare(t, {}, { ...override, contextLength: 257 }), /longer than the 256 tokens/);
  });
});

describe('end tokens', () => {
  async function eosOf(t: TestContext, config: Record<string, unknown>, generation: unknown, override = {}) {
    const directory = await temporaryDirectory(t);
    await writeModel(directory, { ...TINY_LLAMA, ...config });
    if (generation !== undefined) await writeJson(directory, 'generation_config.json', generation);
    const options = { ...ENGINE_DEFAULTS, modelPath: directory, jsonModelOverrideArgs: override };
    return (await prepareModel(options)).eosTokenIds;
  }

  test('generation_config.json, else config.json', async (t) => {
    assert.deepEqual(await eosOf(t, {}, { eos_token_id: [3, 4, 3] }), [3, 4]);
    assert.deepEqual(await eosOf(t, {}, { temperature: 0.5 }), [2]);
    assert.deepEqual(await eosOf(t, { eos_token_id: [5, 6] }, undefined), [5, 6]);
    assert.deepEqual(await eosOf(t, { eos_token_id: null }, { eos_token_id: null }), []);
    assert.deepEqual(await eosOf(t, {}, { eos_token_id: 3 }, { eos_token_id: 7 }), [7]);
  });

  test('ids outside the vocabulary can never come and are left out', async (t) => {
    assert.deepEqual(await eosOf(t, {}, { eos_token_id: [9, 10, 128001] }), [9]);
  });

  test('a wrong type is refused', async (t) => {
    await assert.rejects(eosOf(t, {}, { eos_token_id: '</s>' }), {
      code: 'MODEL_INVALID',
      message: /generation_config\.json: "eos_token_id" must be an integer of at least 0 or an array of them/,
    });
  });
});

test('generation defaults are empty without generation_config.json', async (t) => {
  assert.deepEqual((await prepare(t, {})).generationDefaults, {});
});

test('overrides change the model', async (t) => {
  const options = { loadFormat: 'dummy', jsonModelOverrideArgs: { num_hidden_layers: 1, vocab_size: 2 } } as const;
  const { spec, config, eosTokenIds } = await prepare(t, {}, options);
  assert.deepEqual([spec.layers.length, spec.vocabSize, config.vocab_size], [1, 2, 2]);
  assert.deepEqual(eosTokenIds, []);
});

test('dummy weights of a seed drawn here differ from start to start', async (t) => {
  const seeds = new Set<number>();
  for (let i = 0; i < 4; i++) seeds.add((await prepare(t, {}, { loadFormat: 'dummy' })).loadPlan.dummySeed);
  assert.ok(seeds.size > 1);
});

test('a folder that does not exist, a file, and a folder without config.json', async (t) => {
  const directory = await temporaryDirectory(t);
  const at = (modelPath: string) => prepareModel({ ...ENGINE_DEFAULTS, modelPath });
  await assert.rejects(at(join(directory, 'none')), {
    code: 'MODEL_NOT_FOUND',
    message: /Folder .*none does not exist/,
  });
  await writeJson(directory, 'file', {});
  await assert.rejects(at(join(directory, 'file')), {
    code: 'MODEL_NOT_FOUND',
    message: /is a file; expected a folder/,
  });
  await assert.rejects(at(directory), { code: 'MODEL_INVALID', message: /config\.json does not exist/ });
});

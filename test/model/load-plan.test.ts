import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DTYPE_BYTES } from '#vitrine/model/dtype-bytes.js';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import type { LoadPlan } from '#vitrine/native/addon.js';
import { ENGINE_DEFAULTS, prepareReferenceModel, REFERENCE_MODELS } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import {
  safetensorsBytes,
  type TestTensor,
  TINY_LLAMA,
  tinyLlamaTensors,
  writeJson,
  writeModel,
} from './model-folder.js';

async function plan(
  t: TestContext,
  tensors: readonly TestTensor[] | null,
  config: Record<string, unknown> = {},
  options: Record<string, unknown> = {},
): Promise<LoadPlan> {
  const directory = await temporaryDirectory(t);
  await writeModel(directory, { ...TINY_LLAMA, ...config }, tensors);
  return (await prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory, ...options })).loadPlan;
}

const parameter = (plan: LoadPlan, name: string) => plan.parameters.find((candidate) => candidate.name === name)!;

test('names, shapes and fused pieces of a Llama', async (t) => {
  const loadPlan = await plan(t, tinyLlamaTensors('BF16'));
  const shapes = loadPlan.parameters.map(({ name, rows, cols }) => `${name} ${rows}x${cols}`);
  const layer = (n: number) =>
    [
      'input_norm 8x1',
      'qkv_proj 16x8',
      'o_proj 8x8',
      'post_attention_norm 8x1',
      'gate_up_proj 24x8',
      'down_proj 8x12',
    ].map((part) => `layers.${n}.${part}`);
  assert.deepEqual(shapes, ['embed_tokens 10x8', ...layer(0), ...layer(1), 'norm 8x1', 'lm_head 10x8']);
  const sources = (name: string) => parameter(loadPlan, name).pieces.map(({ source, rows }) => [source, rows]);
  assert.deepEqual(sources('layers.1.qkv_proj'), [
    ['model.layers.1.self_attn.q_proj.weight', 8],
    ['model.layers.1.self_attn.k_proj.weight', 4],
    ['model.layers.1.self_attn.v_proj.weight', 4],
  ]);
  assert.deepEqual(sources('layers.0.gate_up_proj'), [
    ['model.layers.0.mlp.gate_proj.weight', 12],
    ['model.layers.0.mlp.up_proj.weight', 12],
  ]);
});

test('biases, q/k norm and experts have their parameters', async () => {
  const names = async (model: string) =>
    (await prepareReferenceModel(model)).loadPlan.parameters.map(({ name, rows, cols }) => `${name} ${rows}x${cols}`);
  assert.ok((await names('tiny-qwen2')).includes('layers.2.qkv_bias 160x1'));
  const qwen3 = await names('tiny-qwen3');
  assert.ok(qwen3.includes('layers.0.q_norm 32x1') && qwen3.includes('layers.0.k_norm 32x1'));
  assert.ok(!qwen3.some((name) => name.startsWith('lm_head')));
  const moe = await names('tiny-qwen3-moe');
  assert.ok(moe.includes('layers.1.router 8x64') && moe.includes('layers.1.experts.7.gate_up_proj 96x64'));
  const mixtral = await prepareReferenceModel('tiny-mixtral');
  assert.deepEqual(
    parameter(mixtral.loadPlan, 'layers.0.experts.3.gate_up_proj').pieces.map((piece) => piece.source),
    ['model.layers.0.block_sparse_moe.experts.3.w1.weight', 'model.layers.0.block_sparse_moe.experts.3.w3.weight'],
  );
});

test('all biases of a Llama', async (t) => {
  const shapes = { q: 8, k: 4, v: 4, o: 8 };
  const biases = [0, 1].flatMap((n) => [
    ...Object.entries(shapes).map(([p, rows]) => ({
      name: `model.layers.${n}.self_attn.${p}_proj.bias`,
      shape: [rows],
    })),
    { name: `model.layers.${n}.mlp.gate_proj.bias`, shape: [12] },
    { name: `model.layers.${n}.mlp.up_proj.bias`, shape: [12] },
    { name: `model.layers.${n}.mlp.down_proj.bias`, shape: [8] },
  ]);
  const loadPlan = await plan(t, [...tinyLlamaTensors(), ...biases], { attention_bias: true, mlp_bias: true });
  for (const [name, rows] of Object.entries({ qkv_bias: 16, o_bias: 8, gate_up_bias: 24, down_bias: 8 })) {
    assert.equal(parameter(loadPlan, `layers.1.${name}`).rows, rows);
    assert.equal(parameter(loadPlan, `layers.1.${name}`).cols, 1);
  }
});

for (const model of REFERENCE_MODELS) {
  test(`${model}: pieces lie inside their files, do not overlap, and fill every parameter`, async () => {
    const { loadPlan } = await prepareReferenceModel(model);
    const ends = loadPlan.files.map(() => 0);
    const pieces = loadPlan.parameters.flatMap(({ cols, pieces: own }) => own.map((piece) => ({ piece, cols })));
    for (const { piece, cols } of pieces.toSorted((a, b) => a.piece.offset - b.piece.offset)) {
      assert.ok(piece.offset >= ends[piece.file]!, piece.source);
      ends[piece.file] = piece.offset + piece.rows * cols * DTYPE_BYTES[piece.dtype];
    }
    for (const [file, { bytes }] of loadPlan.files.entries()) assert.equal(ends[file], bytes, 'every byte is used');
    for (const { name, rows, pieces: own } of loadPlan.parameters) {
      assert.equal(
        own.reduce((sum, piece) => sum + piece.rows, 0),
        rows,
        name,
      );
    }
  });
}

const without = (name: string) => tinyLlamaTensors().filter((tensor) => tensor.name !== name);
const changed = (name: string, change: Partial<TestTensor>) =>
  tinyLlamaTensors().map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor));
const UP = 'model.layers.1.mlp.up_proj.weight';

const REFUSED: [string, readonly TestTensor[], string, RegExp][] = [
  [
    'a missing tensor',
    without(UP),
    'MODEL_INVALID',
    /model\.safetensors: tensor "model\.layers\.1\.mlp\.up_proj\.weight" is missing\.$/,
  ],
  [
    'many missing tensors',
    tinyLlamaTensors().filter(({ name }) => !name.includes('layers.1')),
    'MODEL_INVALID',
    /: tensors "model\.layers\.1\.input_layernorm\.weight", "[^"]+", "[^"]+" and 6 more are missing/,
  ],
  [
    'a missing head',
    without('lm_head.weight'),
    'MODEL_INVALID',
    /"lm_head\.weight" is missing\. If .* "tie_word_embeddings": true/,
  ],
  [
    'a surplus tensor',
    [...tinyLlamaTensors(), { name: 'model.layers.2.mlp.up_proj.weight', shape: [12, 8] }],
    'MODEL_INVALID',
    /model\.safetensors: tensor "model\.layers\.2\.mlp\.up_proj\.weight" has no place in the model that config\.json describes/,
  ],
  [
    'surplus biases',
    [...tinyLlamaTensors(), { name: 'x.bias', shape: [8] }, { name: 'y.bias', shape: [8] }],
    'MODEL_INVALID',
    /tensors "x\.bias", "y\.bias" have no place/,
  ],
  [
    'a wrong shape',
    changed(UP, { shape: [8, 12] }),
    'MODEL_INVALID',
    /"model\.layers\.1\.mlp\.up_proj\.weight" has shape \[8, 12\]; config\.json asks for \[12, 8\]/,
  ],
  [
    'a vector as a matrix',
    changed('model.norm.weight', { shape: [8, 1] }),
    'MODEL_INVALID',
    /"model\.norm\.weight" has shape \[8, 1\]; config\.json asks for \[8\]/,
  ],
  [
    'float64',
    changed(UP, { dtype: 'F64' }),
    'MODEL_UNSUPPORTED',
    /"model\.layers\.1\.mlp\.up_proj\.weight" is stored as F64; supported are F32, F16, BF16/,
  ],
  ['float8', changed(UP, { dtype: 'F8_E4M3' }), 'MODEL_UNSUPPORTED', /is stored as F8_E4M3/],
  ['int8', changed(UP, { dtype: 'I8' }), 'MODEL_UNSUPPORTED', /is stored as I8/],
];

for (const [what, tensors, code, message] of REFUSED) {
  test(`refuses ${what}`, (t) => assert.rejects(plan(t, tensors), { code, message }));
}

test('rotary buffers of old checkpoints, and the head of a tied model, are left aside', async (t) => {
  const buffer = { name: 'model.layers.0.self_attn.rotary_emb.inv_freq', shape: [1], dtype: 'F64' };
  const loadPlan = await plan(t, [...tinyLlamaTensors(), buffer], { tie_word_embeddings: true });
  const used = loadPlan.parameters.flatMap(({ pieces }) => pieces.map((piece) => piece.source));
  assert.ok(!used.includes('lm_head.weight') && !used.includes(buffer.name));
});

test('tensors of different types in one checkpoint keep their own', async (t) => {
  const loadPlan = await plan(t, changed('model.norm.weight', { dtype: 'BF16' }));
  assert.equal(parameter(loadPlan, 'norm').pieces[0]!.dtype, 'bfloat16');
  assert.equal(parameter(loadPlan, 'lm_head').pieces[0]!.dtype, 'float32');
});

test('a missing tensor of a sharded checkpoint names the folder', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeJson(directory, 'config.json', TINY_LLAMA);
  const tensors = without(UP);
  await writeFile(join(directory, 'a.safetensors'), safetensorsBytes(tensors.slice(0, 5)));
  await writeFile(join(directory, 'b.safetensors'), safetensorsBytes(tensors.slice(5)));
  await assert.rejects(
    prepareModel({ ...ENGINE_DEFAULTS, modelPath: directory }),
    /\(all shards\): tensor "model\.layers\.1/,
  );
});

test('dummy weights need nothing but config.json', async (t) => {
  const loadPlan = await plan(t, null, {}, { loadFormat: 'dummy', randomSeed: 7 });
  const real = await plan(t, tinyLlamaTensors());
  assert.equal(loadPlan.dummySeed, 7);
  assert.deepEqual(loadPlan.files, []);
  assert.deepEqual(
    loadPlan.parameters,
    real.parameters.map((wanted) => ({
      ...wanted,
      pieces: wanted.pieces.map((piece) => ({ ...piece, file: -1, offset: 0 })),
    })),
  );
});

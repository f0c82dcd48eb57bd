// Bytes and operations of a step, against counts worked out by hand.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StepWork } from '#vitrine/model/step-work.js';
import type { LayerSpec, ModelSpec } from '#vitrine/native/addon.js';

const SPEC: ModelSpec = {
  vocabSize: 10,
  hiddenSize: 8,
  intermediateSize: 12,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 2,
  rmsNormEps: 1e-5,
  attentionScale: 1,
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  activation: 'silu',
  tieWordEmbeddings: true,
  rope: { rotaryDim: 2, invFreq: [1], attentionFactor: 1, dynamicNtk: null },
  layers: [{ slidingWindow: 0, moe: null }],
  dtype: 'float32',
  kvCache: { dtype: 'float32', scales: [] },
};
// q, k, v and o: 8 x (8 + 4 + 4) + 8 x 8; gate, up and down: 3 x 8 x 12.
const LAYER = 192 + 288;
const HEAD = 80;

describe('the work of a step', () => {
  test('decode reads every weight once and every cached token', () => {
    const { flops, bytes } = new StepWork(SPEC).of([1, 1], [5, 3]);
    // K and V of 8 tokens, two heads of two channels.
    assert.equal(bytes, 4 * (LAYER + HEAD + 2 * 4 * 8));
    // QK and PV: four heads of two channels, 8 pairs, two operations each.
    assert.equal(flops, 2 * 2 * (LAYER + HEAD) + 4 * 8 * 8);
  });

  test('prefill counts causal pairs and one row of logits', () => {
    const { flops } = new StepWork(SPEC).of([3], [3]);
    assert.equal(flops, 2 * (3 * LAYER + HEAD) + 4 * 8 * (1 + 2 + 3));
    const extended = new StepWork(SPEC).of([2], [5], 0);
    assert.equal(extended.flops, 2 * 2 * LAYER + 4 * 8 * (4 + 5));
    assert.equal(extended.bytes, 4 * (LAYER + 2 * 4 * 5));
  });

  test('a sliding window bounds what is seen', () => {
    const windowed = { ...SPEC, layers: [{ slidingWindow: 2, moe: null }] };
    const decode = new StepWork(windowed).of([1], [9], 0);
    assert.equal(decode.bytes, 4 * (LAYER + 2 * 4 * 2));
    assert.equal(decode.flops, 2 * LAYER + 4 * 8 * 2);
    const prefill = new StepWork(windowed).of([4], [4], 0);
    assert.equal(prefill.flops, 2 * 4 * LAYER + 4 * 8 * (1 + 2 + 2 + 2));
    assert.equal(prefill.bytes, 4 * (LAYER + 2 * 4 * 4));
  });

  test('of experts, a token computes its own and a step reads those that are met', () => {
    const moe = { numExperts: 4, topK: 1, normTopkProb: true, intermediateSize: 6, module: 'mlp' };
    const sparse = { ...SPEC, layers: [{ slidingWindow: 0, moe }] };
    const expert = 3 * 8 * 6;
    const router = 8 * 4;
    const one = new StepWork(sparse).of([1], [1], 0);
    assert.equal(one.flops, 2 * (192 + router + expert) + 4 * 8);
    assert.equal(one.bytes, 4 * (192 + router + expert + 2 * 4));
    const two = new StepWork(sparse).of([2], [2], 0);
    // The second token meets another expert with a chance of 3 / 4.
    assert.equal(two.bytes, 4 * (192 + router + 1.75 * expert + 2 * 4 * 2));
  });

  test('float8 matrices are a byte an element and a float32 scale a row', () => {
    const whole: LayerSpec = { slidingWindow: 0, moe: null };
    const some: LayerSpec = { ...whole, float8: ['o_proj', 'gate_up_proj'] };
    const spec = { ...SPEC, layers: [whole, some, some] };
    const [o, gateUp] = [8 * 8, 2 * 8 * 12];
    const { bytes, flops, float8Flops } = new StepWork(spec).of([1], [4], 0);
    const held = 4 * (3 * LAYER - 2 * (o + gateUp)) + 2 * (o + gateUp + 4 * (8 + 2 * 12));
    assert.equal(bytes, held + 3 * 4 * 2 * 4 * 4);
    assert.equal(flops, 3 * (2 * LAYER + 4 * 8 * 4));
    assert.equal(float8Flops, 2 * 2 * (o + gateUp));
    const cached = { ...spec, kvCache: { dtype: 'float8_e4m3fn' as const, scales: [] } };
    assert.equal(new StepWork(cached).of([1], [4], 0).float8Flops, 2 * 2 * (o + gateUp) + 3 * 4 * 8 * 4);
  });

  test('weights, and keys and values, are counted in their own dtypes', () => {
    const bytes = (dtype: ModelSpec['dtype'], cached: ModelSpec['kvCache']['dtype']) =>
      new StepWork({ ...SPEC, dtype, kvCache: { dtype: cached, scales: [] } }).of([1], [4]).bytes;
    const keysAndValues = 2 * 4 * 4;
    assert.equal(bytes('bfloat16', 'bfloat16'), 2 * (LAYER + HEAD + keysAndValues));
    assert.equal(bytes('bfloat16', 'float8_e4m3fn'), 2 * (LAYER + HEAD) + keysAndValues);
    assert.equal(bytes('float32', 'bfloat16'), 4 * (LAYER + HEAD) + 2 * keysAndValues);
  });
});

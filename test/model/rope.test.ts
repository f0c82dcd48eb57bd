import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { HfConfig } from '#vitrine/model/hf-config.js';
import { buildRope, contextLengthOf, readRopeParameters } from '#vitrine/model/rope.js';

interface GoldenCase {
  readonly name: string;
  readonly config: Record<string, unknown> & { rope_parameters: Record<string, unknown> };
  readonly head_dim: number;
  readonly inv_freq: readonly number[];
  readonly attention_factor: number;
}

const golden = JSON.parse(readFileSync(new URL('../fixtures/rope/transformers.json', import.meta.url), 'utf8')) as {
  cases: GoldenCase[];
};

function read(values: Record<string, unknown>, headDim = 16) {
  const config = new HfConfig({ max_position_embeddings: 512, ...values }, 'config.json');
  return readRopeParameters(config, { headDim, defaultTheta: 10_000 });
}

const build = (values: Record<string, unknown>, headDim = 16) => buildRope(read(values, headDim));

function assertFrequencies(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, frequency] of expected.entries()) {
    // Three units in the last place of float32: the power function differs between libraries by that.
    assert.ok(Math.abs(actual[i]! - frequency) <= 4e-7 * frequency, `frequency ${i}: ${actual[i]} for ${frequency}`);
    assert.equal(actual[i], Math.fround(actual[i]!), `frequency ${i} is a float32`);
  }
}

describe('the values of transformers', () => {
  for (const { name, config, head_dim: headDim, inv_freq: expected, attention_factor: factor } of golden.cases) {
    test(`rope_parameters: ${name}`, () => {
      const rope = build(config, headDim);
      assertFrequencies(rope.invFreq, expected);
      assert.equal(rope.rotaryDim, 2 * expected.length);
      assert.ok(Math.abs(rope.attentionFactor - factor) < 1e-12);
      assert.equal(rope.dynamicNtk, null);
    });

    test(`rope_scaling: ${name}`, () => {
      const { rope_theta: theta, partial_rotary_factor: partial, rope_type: type, ...scaling } = config.rope_parameters;
      const classic = {
        ...config,
        rope_parameters: undefined,
        rope_theta: theta,
        partial_rotary_factor: partial,
        rope_scaling: { ...scaling, type },
      };
      assertFrequencies(build(classic, headDim).invFreq, expected);
    });
  }
});

test('default: powers of theta, from whichever key has it', () => {
  const expected = [1, 1 / Math.fround(Math.sqrt(10))].map(Math.fround);
  assert.deepEqual(build({ rope_theta: 10 }, 4).invFreq, expected);
  assert.deepEqual(build({ rope_parameters: { rope_theta: 10 }, rope_theta: 99 }, 4).invFreq, expected);
  assert.deepEqual(build({ rope_scaling: null, rope_theta: 10 }, 4).invFreq, expected);
  assert.equal(build({}, 4).invFreq[1], Math.fround(0.01));
});

test('dynamic: plain frequencies, scaled from max_position_embeddings on', () => {
  const rope = build({ rope_scaling: { type: 'dynamic', factor: 2, original_max_position_embeddings: 128 } });
  assert.deepEqual(rope.dynamicNtk, { theta: 10_000, factor: 2, originalMaxPositions: 512 });
  assert.deepEqual(rope.invFreq, build({}).invFreq);
});

test('parameters per layer type are taken when all are equal', () => {
  const linear = { rope_type: 'linear', factor: 2, rope_theta: 10 };
  const nested = build({ rope_parameters: { full_attention: linear, sliding_attention: linear } });
  assert.deepEqual(nested, build({ rope_parameters: linear }));
  const different = { full_attention: linear, sliding_attention: { ...linear, rope_theta: 20 } };
  assert.throws(() => build({ rope_parameters: different }), {
    code: 'MODEL_UNSUPPORTED',
    message: /"rope_parameters" differs by layer type/,
  });
});

test('original_max_position_embeddings beside the scaling object wins', () => {
  const scaling = { type: 'yarn', factor: 4, original_max_position_embeddings: 32 };
  assert.equal(read({ rope_scaling: scaling, original_max_position_embeddings: 64 }).originalMaxPositions, 64);
  assert.equal(read({ rope_scaling: scaling }).originalMaxPositions, 32);
});

const REFUSED: [string, Record<string, unknown>, string, RegExp][] = [
  [
    'longrope',
    { rope_scaling: { type: 'longrope', factor: 4 } },
    'MODEL_UNSUPPORTED',
    /rope_scaling: rope type "longrope" is not supported; supported are default, linear, dynamic, llama3, yarn/,
  ],
  ['no factor', { rope_scaling: { type: 'linear' } }, 'MODEL_INVALID', /rope_scaling: "factor" must be a number of at/],
  ['factor below 1', { rope_scaling: { type: 'dynamic', factor: 0.5 } }, 'MODEL_INVALID', /"factor" must be .* 0\.5/],
  ['yarn without factor', { rope_scaling: { type: 'yarn' } }, 'MODEL_INVALID', /"factor" must be a number/],
  [
    'llama3 without low_freq_factor',
    { rope_scaling: { rope_type: 'llama3', factor: 8, high_freq_factor: 4 } },
    'MODEL_INVALID',
    /"low_freq_factor" must be a number greater than 0/,
  ],
  [
    'llama3 with factors in the wrong order',
    { rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 } },
    'MODEL_INVALID',
    /"high_freq_factor" must be greater than low_freq_factor \(4\), got number 4/,
  ],
  ['scaling is a string', { rope_scaling: 'linear' }, 'MODEL_INVALID', /"rope_scaling" must be an object, got string/],
  ['negative theta', { rope_theta: -1 }, 'MODEL_INVALID', /"rope_theta" must be a number greater than 0/],
  [
    'no context length',
    { max_position_embeddings: null },
    'MODEL_INVALID',
    /"max_position_embeddings" must be an integer/,
  ],
  [
    'odd rotary part',
    { partial_rotary_factor: 0.2 },
    'MODEL_UNSUPPORTED',
    /even number of channels per head, got 3 \(head_dim 16/,
  ],
];

for (const [what, values, code, message] of REFUSED) {
  test(`refuses: ${what}`, () => assert.throws(() => build(values), { code, message }));
}

describe('context length', () => {
  const yarn = { type: 'yarn', factor: 4 };
  const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
  const cases: [string, Record<string, unknown>, number, number][] = [
    ['default', {}, 512, 512],
    ['linear', { rope_scaling: { type: 'linear', factor: 2 } }, 1024, 1024],
    ['dynamic, fractional factor', { rope_scaling: { type: 'dynamic', factor: 1.501 } }, 768, 768],
    ['yarn', { rope_scaling: yarn }, 2048, 2048],
    ['yarn with the original length', { rope_scaling: { ...yarn, original_max_position_embeddings: 400 } }, 512, 1600],
    ['yarn, original length outside', { rope_scaling: yarn, original_max_position_embeddings: 100 }, 512, 512],
    ['llama3', { rope_scaling: { ...llama3, original_max_position_embeddings: 64 } }, 512, 512],
    ['llama3 without the original length', { rope_scaling: llama3 }, 512, 512],
  ];
  for (const [name, values, byDefault, allowed] of cases) {
    test(name, () => assert.deepEqual(contextLengthOf(read(values)), { byDefault, allowed }));
  }
});

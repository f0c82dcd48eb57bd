// Every reference model through the real addon, against what transformers computed in float32. In bfloat16 and float16
// weights (and, on a GPU, activations) are rounded, and a rounded router may choose another expert: single numbers mean
// little there, the angle between the rows of logits does. The same holds of a KV cache of float8. VITRINE_TEST_DEVICE=cuda: on
// the GPU.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import type { DType } from '#vitrine/native/addon.js';
import { findCudaLibrary } from '#vitrine/native/cuda-library.js';
import { loadAddon } from '#vitrine/native/load.js';
import {
  prepareReferenceModel,
  REFERENCE_MODELS,
  type ReferenceCase,
  readReference,
} from '../reference/reference-files.js';
import { type EngineSettings, TestEngine, TestSequence } from '../support/native-engine.js';

const LOGIT_TOLERANCE = 1e-3;
const LOGPROB_TOLERANCE = 5e-4;

interface Tolerance {
  /** Least, between the last rows of logits. */
  readonly cosine: number;
  /** Most mean difference of a prompt's log-probabilities. */
  readonly logprob: number;
}

const ROUNDED = {
  bfloat16: { cosine: 0.98, logprob: 0.3 },
  float16: { cosine: 0.9995, logprob: 0.05 },
  // Numbers that are off by up to 2^-4 of themselves in each layer, and sometimes another expert for that: room for both. What
  // float8 may make of a model without experts, test/reference/float8-cache.test.ts bounds more strictly.
  float8Cache: { cosine: 0.95, logprob: 0.7 },
  // Models of random weights are sensitive: what float8 weights and activations give is compared with the float64 decoder.
  float8: { cosine: 0.85, logprob: 1 },
} as const satisfies Record<string, Tolerance>;

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    assert.ok(difference <= tolerance, `${what}[${i}]: ${actual[i]} instead of ${expected[i]}, ± ${tolerance}`);
  }
}

function cosine(a: ArrayLike<number>, b: readonly number[]): number {
  let [ab, aa, bb] = [0, 0, 0];
  b.forEach((value, i) => {
    ab += a[i]! * value;
    aa += a[i]! ** 2;
    bb += value ** 2;
  });
  return ab / Math.sqrt(aa * bb);
}

/** The whole prompt in one step, with all log-probabilities and logits. */
function prefillOf(engine: TestEngine, sequence: TestSequence, prompt: readonly number[]) {
  const rows = prompt.map((_, i) => [i, prompt[i + 1] ?? -1] as const);
  const flags = REQUEST_FLAG.returnLogprob | REQUEST_FLAG.returnLogits;
  return engine.step([sequence.next(prompt, { rows, flags })], { sections: { topLogprobs: [5] } });
}

/**
 * After 22 tokens of its prompt of one token two router logits of tiny-mixtral are 5.9e-7 apart (in float64): which expert
 * is chosen hangs on the order of sums in float32. The CPU's order gives the reference's choice, a GPU's may not.
 */
const NEAR_TIE = { model: 'tiny-mixtral', promptTokens: 1, sureTokens: 22 };

function sureTokens(name: string, { prompt_ids, greedy_ids }: ReferenceCase, { device = 'cpu' }: EngineSettings) {
  const { model, promptTokens, sureTokens } = NEAR_TIE;
  return device === 'cuda' && name === model && prompt_ids.length === promptTokens ? sureTokens : greedy_ids.length;
}

/** `count`: of the greedy tokens, how many must be the reference's. */
async function checkCase(engine: TestEngine, reference: ReferenceCase, count: number): Promise<void> {
  const prompt = reference.prompt_ids;
  const greedy = reference.greedy_ids.slice(0, count);
  const sequence = new TestSequence(3, engine.blocksFor(1, prompt.length + greedy.length));
  const prefill = await prefillOf(engine, sequence, prompt);
  const last = prompt.length - 1;

  assertClose(prefill.logits(last), reference.last_logits, LOGIT_TOLERANCE, 'logits');
  const logprobs = prefill.floats('rowLogprobs');
  assertClose(logprobs.subarray(0, last), reference.prompt_logprobs.slice(1) as number[], LOGPROB_TOLERANCE, 'prompt');
  const topIds = reference.top5.map(({ id }) => id);
  const topLogprobs = reference.top5.map(({ logprob }) => logprob);
  assert.deepEqual(prefill.row('topStart', 'topIds', last), topIds);
  assertClose(prefill.row('topStart', 'topLogprobs', last), topLogprobs, LOGPROB_TOLERANCE, 'top5');

  const tokens = [prefill.ints('sampledIds')[0]!];
  const tokenLogprobs = [logprobs[last]!];
  while (tokens.length < greedy.length) {
    const output = await engine.step([sequence.decode({ flags: REQUEST_FLAG.returnLogprob })]);
    tokens.push(output.ints('sampledIds')[0]!);
    tokenLogprobs.push(output.floats('rowLogprobs')[0]!);
  }
  assert.deepEqual(tokens, greedy);
  assertClose(tokenLogprobs, reference.greedy_logprobs.slice(0, count), LOGPROB_TOLERANCE, 'greedy');
}

/** Prompt and greedy tokens in one step, and again token by token: close to the reference, and to each other. */
async function checkRoundedCase(engine: TestEngine, reference: ReferenceCase, tolerance: Tolerance): Promise<void> {
  const prompt = [...reference.prompt_ids];
  const whole = new TestSequence(3, engine.blocksFor(1, prompt.length));
  const prefill = await prefillOf(engine, whole, prompt);
  const last = prompt.length - 1;
  const logits = Array.from(prefill.logits(last));
  assert.ok(
    cosine(logits, reference.last_logits) > tolerance.cosine,
    `cosine ${cosine(logits, reference.last_logits)}`,
  );
  const logprobs = prefill.floats('rowLogprobs');
  const differences = reference.prompt_logprobs.slice(1).map((expected, i) => Math.abs(logprobs[i]! - expected!));
  const mean = differences.reduce((sum, value) => sum + value, 0) / Math.max(differences.length, 1);
  assert.ok(mean < tolerance.logprob, `prompt log-probabilities differ by ${mean} in the mean`);

  const stepwise = new TestSequence(4, engine.blocksFor(2, prompt.length));
  let output = prefill;
  for (const token of prompt)
    output = await engine.step([stepwise.next([token], { flags: REQUEST_FLAG.returnLogits })]);
  const decoded = cosine(output.logits(0), logits);
  assert.ok(decoded > tolerance.cosine, `decode and prefill differ: cosine ${decoded}`);
}

interface Setting {
  readonly title: string;
  readonly dtype: DType;
  readonly quantization?: 'fp8';
  readonly engine: EngineSettings;
  /** Null: as exact as float32. */
  readonly tolerance: Tolerance | null;
  readonly kvCacheDtype?: 'fp8_e4m3';
}

function settings(): Setting[] {
  const { bfloat16, float16, float8, float8Cache: tolerance } = ROUNDED;
  const kvCacheDtype = 'fp8_e4m3';
  if (process.env.VITRINE_TEST_DEVICE === 'cuda') {
    const engine = { device: 'cuda', cudaLibrary: findCudaLibrary() } as const;
    return [
      { title: 'cuda float32', dtype: 'float32', engine, tolerance: null },
      { title: 'cuda bfloat16', dtype: 'bfloat16', engine, tolerance: bfloat16 },
      { title: 'cuda float16', dtype: 'float16', engine, tolerance: float16 },
      { title: 'cuda float32, KV cache of float8', dtype: 'float32', engine, tolerance, kvCacheDtype },
      { title: 'cuda float16, KV cache of float8', dtype: 'float16', engine, tolerance, kvCacheDtype },
      { title: 'cuda bfloat16, float8 weights', dtype: 'bfloat16', engine, tolerance: float8, quantization: 'fp8' },
    ];
  }
  const { cpuIsas } = loadAddon().buildInfo();
  const float32 = { dtype: 'float32' } as const;
  return [
    ...cpuIsas.map((cpuIsa) => ({ ...float32, title: cpuIsa, engine: { cpuIsa }, tolerance: null })),
    { title: 'bfloat16', dtype: 'bfloat16', engine: {}, tolerance: bfloat16 },
    { title: 'float16', dtype: 'float16', engine: {}, tolerance: float16 },
    { title: 'bfloat16, float8 weights', dtype: 'bfloat16', engine: {}, tolerance: float8, quantization: 'fp8' },
    ...cpuIsas.map((cpuIsa) => ({
      ...{ ...float32, title: `${cpuIsa}, KV cache of float8`, engine: { cpuIsa } },
      ...({ tolerance, kvCacheDtype } as const),
    })),
  ];
}

/** Float8 weights are not for experts. */
const isMixture = (name: string): boolean => /mixtral|moe/.test(name);

for (const setting of settings()) {
  const { title, dtype, engine: engineSettings, tolerance, kvCacheDtype = 'auto', quantization } = setting;
  describe(`reference models, ${title}`, () => {
    for (const name of REFERENCE_MODELS.filter((name) => quantization === undefined || !isMixture(name))) {
      it(name, async () => {
        const engine = new TestEngine(
          await prepareReferenceModel(name, { dtype, kvCacheDtype, quantization }),
          engineSettings,
        );
        try {
          for (const reference of readReference(name).cases) {
            if (tolerance === null) await checkCase(engine, reference, sureTokens(name, reference, engineSettings));
            else await checkRoundedCase(engine, reference, tolerance);
          }
        } finally {
          engine.close();
        }
      });
    }
  });
}

// The native engine with a KV cache of float8, on every instruction set, against the float64 decoder that rounds its
// keys and values to float8 as well: what the engine's logits differ by from those of an exact cache is float8's own error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { type PreparedModel, prepareModel } from '#vitrine/model/prepare-model.js';
import { loadAddon } from '#vitrine/native/load.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { writeRandomModel } from './random-model.js';
import { referenceLogits } from './reference-decoder.js';
import { ENGINE_DEFAULTS, prepareReferenceModel, readReference } from './reference-files.js';

/**
 * Of the error that float8 makes, how much the engine may differ from the decoder in float64 that makes it too: a number beside
 * a tie may go to either side in float32. A wrong scale, a number that is cut off instead of rounded, or rounded twice, is of the
 * size of the error itself.
 */
const OWN_ERROR = 0.2;
/** A number of float8 is off by so much of itself at most, and the errors of the layers add up at worst. */
const FLOAT8_ERROR = 2 ** -4;

const LLAMA = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 48,
  intermediate_size: 52,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  vocab_size: 131,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
};
const attention = (layer: number) => `model.layers.${layer}.self_attn`;

/** Root of the mean square. */
function size(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum / values.length);
}
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return size(Float64Array.from(a, (value, i) => value - b[i]!));
}

async function lastLogits(prepared: PreparedModel, ids: readonly number[], cpuIsa: string) {
  const engine = new TestEngine(prepared, { cpuIsa });
  try {
    const sequence = new TestSequence(0, engine.blocksFor(0, ids.length));
    await engine.step([sequence.next(ids.slice(0, -1), { rows: [] })]);
    const last = await engine.step([sequence.next(ids.slice(-1), { flags: REQUEST_FLAG.returnLogits })]);
    return last.logits(0);
  } finally {
    engine.close();
  }
}

/** `isCut`: much lies beyond the largest number of float8, so that its error has no bound. */
async function check(directory: string, ids: readonly number[], isCut = false): Promise<void> {
  const settings = { ...ENGINE_DEFAULTS, modelPath: directory, dtype: 'float32' } as const;
  const rounding = await prepareModel({ ...settings, kvCacheDtype: 'fp8_e4m3' });
  const exact = (await referenceLogits(await prepareModel(settings), ids)).at(-1)!;
  const rounded = (await referenceLogits(rounding, ids)).at(-1)!;
  const error = difference(rounded, exact);
  assert.ok(error > 1e-3 * size(exact), 'float8 makes a difference');
  const most = isCut ? Number.POSITIVE_INFINITY : FLOAT8_ERROR * rounding.spec.layers.length;
  assert.ok(error < most * size(exact), `float8 is off by ${error / size(exact)} of the logits`);
  for (const isa of loadAddon().buildInfo().cpuIsas) {
    const own = difference(await lastLogits(rounding, ids, isa), rounded);
    assert.ok(own < OWN_ERROR * error, `${isa}: ${own} is ${own / error} of the error of float8`);
  }
}

const SCALES: Record<string, Record<string, number>> = {
  'no scales': {},
  'scales of keys and values': Object.fromEntries(
    [0, 1].flatMap((layer) => [
      [`${attention(layer)}.k_scale`, 0.011 + 0.01 * layer],
      [`${attention(layer)}.v_scale`, 0.023],
    ]),
  ),
  'small scales: much is cut at 448': {
    [`${attention(0)}.kv_scale`]: 1,
    [`${attention(1)}.k_proj.k_scale`]: 0.003,
    [`${attention(1)}.v_proj.v_scale`]: 0.002,
  },
};
for (const [name, scales] of Object.entries(SCALES)) {
  test(`a random model, ${name}`, async (t) => {
    const directory = await temporaryDirectory(t);
    await writeRandomModel(directory, LLAMA, { seed: 5, scalars: scales });
    const ids = Array.from({ length: 60 }, (_, i) => (i * 37 + 5) % LLAMA.vocab_size);
    await check(directory, ids, name.startsWith('small'));
  });
}

// None with experts: a rounded router may choose another one.
for (const name of ['stories260K', 'tiny-qwen3', 'tiny-llama3-rope', 'tiny-mistral-sw']) {
  test(name, async () => {
    const { directory } = await prepareReferenceModel(name);
    const ids = readReference(name).cases.find(({ prompt_len }) => prompt_len === 130)!.prompt_ids;
    await check(directory, ids);
  });
}

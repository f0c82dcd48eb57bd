// The float64 decoder against transformers: proves ModelSpec and LoadPlan of every reference model, without native code.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { logSoftmax, ReferenceDecoder, referenceLogits } from './reference-decoder.js';
import { prepareReferenceModel, REFERENCE_MODELS, type ReferenceCase, readReference } from './reference-files.js';

const LOGIT_TOLERANCE = 1e-3;
const LOGPROB_TOLERANCE = 5e-4;

function assertClose(actual: number, expected: number, tolerance: number, what: string): void {
  const difference = Math.abs(actual - expected);
  assert.ok(difference <= tolerance, `${what}: ${actual} differs from ${expected} by ${difference}`);
}

function argmax(values: Float64Array): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

function checkCase(decoder: ReferenceDecoder, expected: ReferenceCase): void {
  decoder.reset();
  const logits = decoder.extend(expected.prompt_ids);
  const last = logits.at(-1)!;
  assert.equal(last.length, expected.last_logits.length);
  for (const [id, logit] of expected.last_logits.entries())
    assertClose(last[id]!, logit, LOGIT_TOLERANCE, `logit ${id}`);
  for (const { id, logprob } of expected.top5) {
    assertClose(logSoftmax(last)[id]!, logprob, LOGPROB_TOLERANCE, `top token ${id}`);
  }
  for (const [t, logprob] of expected.prompt_logprobs.entries()) {
    if (logprob === null) continue;
    const actual = logSoftmax(logits[t - 1]!)[expected.prompt_ids[t]!]!;
    assertClose(actual, logprob, LOGPROB_TOLERANCE, `prompt token ${t}`);
  }
  let row = last;
  for (const [step, id] of expected.greedy_ids.entries()) {
    assert.equal(argmax(row), id, `greedy token ${step}`);
    assertClose(logSoftmax(row)[id]!, expected.greedy_logprobs[step]!, LOGPROB_TOLERANCE, `greedy token ${step}`);
    row = decoder.extend([id])[0]!;
  }
}

for (const model of REFERENCE_MODELS) {
  describe(model, async () => {
    const decoder = await ReferenceDecoder.load(await prepareReferenceModel(model));
    for (const [index, expected] of readReference(model).cases.entries()) {
      test(`case ${index}: ${expected.prompt_len} tokens`, () => checkCase(decoder, expected));
    }
  });
}

test('referenceLogits gives one row per token', async () => {
  const prepared = await prepareReferenceModel('stories260K');
  const rows = await referenceLogits(prepared, [1, 2, 3]);
  assert.deepEqual(
    rows.map((row) => row.length),
    [512, 512, 512],
  );
});

test('stories260K tells the reference stories', async () => {
  const decoder = await ReferenceDecoder.load(await prepareReferenceModel('stories260K'));
  for (const { prompt_ids: prompt, greedy_ids: expected } of readReference('stories260K').text_cases!) {
    decoder.reset();
    let row = decoder.extend(prompt).at(-1)!;
    const generated: number[] = [];
    while (generated.length < expected.length) {
      generated.push(argmax(row));
      row = decoder.extend([generated.at(-1)!])[0]!;
    }
    assert.deepEqual(generated, expected);
  }
});

test('dummy weights have no reference', async () => {
  const prepared = await prepareReferenceModel('tiny-qwen3', { loadFormat: 'dummy' });
  await assert.rejects(referenceLogits(prepared, [1]), /dummy weights have no reference/);
});

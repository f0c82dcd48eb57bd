// Prefill chunks beside running decodes are sized by time. The fake engine's steps say how long they took.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import type { ScheduleBatch } from '#vitrine/engine/schedule-batch.js';
import { PrefillBudget } from '#vitrine/scheduler/prefill-budget.js';
import type { FakeStep } from '../support/fake-engine.js';
import { expectedResult } from '../support/fake-model.js';
import { generateMessage, SchedulerHarness } from '../support/scheduler-harness.js';

const PROMPT = Array.from({ length: 300 }, (_, i) => 3 + (i % 57));

/** A decode row costs 4 ms, a prompt token 0.1 ms more. */
const stepMs = (_step: number, tokens: number) => 4 + 0.1 * (tokens - 1);

/** The counts of the steps that hold a part of PROMPT, which comes while another request decodes. */
async function chunksBesideDecodes(scheduler: Partial<SchedulerOptions>, stepTime = stepMs): Promise<number[]> {
  const steps: FakeStep[] = [];
  const harness = new SchedulerHarness({
    scheduler: { disableRadixCache: true, chunkedPrefillSize: 256, ...scheduler },
    engine: { stepMs: stepTime, onStep: (step) => steps.push(step) },
  });
  const first = generateMessage([5, 6, 7, 8, 9, 10, 11, 12], { maxNewTokens: 60, ignoreEos: true });
  const second = generateMessage(PROMPT, { maxNewTokens: 2, ignoreEos: true });
  let begun = 0;
  let late: Promise<unknown> | undefined;
  harness.onChunk = (chunk) => {
    if (chunk.rid === first.rid) begun += 1;
    if (begun === 20) late ??= harness.generate(second);
  };
  const result = await harness.generate(first);
  assert.deepEqual(result.tokenIds, expectedResult(first).tokenIds);
  await late;
  await harness.close();
  const beside = steps.filter(({ counts }) => counts.length === 2).map(({ counts }) => counts[1]!);
  // The last chunk may be one token, as its decode steps are: the prompt ends where its tokens have been computed.
  let computed = 0;
  return beside.filter((count) => {
    computed += count;
    return computed <= PROMPT.length;
  });
}

describe('prefill chunks beside decodes', () => {
  test('are cut so that a step takes so many times a step of decodes alone', async () => {
    const chunks = await chunksBesideDecodes({ mixedStepStretch: 2.5 });
    // 1.5 decode steps of 4 ms at 0.1 ms a token: 60, reached by doubling from 16.
    assert.equal(chunks[0], 16);
    assert.ok(chunks.length >= 5, `chunks of ${chunks}`);
    assert.ok(Math.max(...chunks) <= 90, `chunks of ${chunks}`);
    assert.equal(
      chunks.reduce((sum, count) => sum + count, 0),
      PROMPT.length,
    );
  });

  test('are no longer for a few slow steps of decodes before them', async () => {
    const disturbed = (step: number, tokens: number) =>
      stepMs(step, tokens) * (tokens === 1 && step % 4 === 0 ? 20 : 1);
    const chunks = await chunksBesideDecodes({ mixedStepStretch: 2.5 }, disturbed);
    assert.ok(Math.max(...chunks) <= 120, `chunks of ${chunks}`);
  });

  test('are as long as --chunked-prefill-size with a stretch of 0', async () => {
    assert.deepEqual(await chunksBesideDecodes({ mixedStepStretch: 0 }), [256, 44]);
  });

  test('are as long as --chunked-prefill-size where nothing decodes', async () => {
    const steps: FakeStep[] = [];
    const harness = new SchedulerHarness({
      scheduler: { disableRadixCache: true, chunkedPrefillSize: 256, mixedStepStretch: 2.5 },
      engine: { stepMs, onStep: (step) => steps.push(step) },
    });
    await harness.generate(generateMessage([5, 6, 7], { maxNewTokens: 5, ignoreEos: true }));
    await harness.generate(generateMessage(PROMPT, { maxNewTokens: 1 }));
    await harness.close();
    const counts = steps.map((step) => step.counts);
    assert.deepEqual(counts.slice(-2), [[256], [44]]);
  });
});

describe('the budget of prompt tokens, while prompts keep coming', () => {
  const seconds = (rows: number, tokens: number) => 0.083 + 0.005 * rows + 0.0072 * tokens;

  /** Steps of so many decode rows: the tokens that each was given. A step ends when the next one has been put together. */
  function steps(budget: PrefillBudget, rows: number, count: number, prompts = true): number[] {
    const given: number[] = [];
    for (let i = 0; i < count; i++) {
      given.push(prompts ? budget.tokens(rows) : 0);
      const prefillTokens = given.at(-2);
      if (prefillTokens === undefined) continue;
      budget.stepDone({ decodeRows: rows, prefillTokens } as ScheduleBatch, seconds(rows, prefillTokens));
    }
    return given;
  }
  const stretches = (given: readonly number[], rows: number) => given.map((n) => seconds(rows, n) / seconds(rows, 0));

  test('is that of many decodes, also when only one ran before', () => {
    const budget = new PrefillBudget(2, 512);
    steps(budget, 1, 40, false);
    const given = steps(budget, 64, 200);
    const affordable = Math.floor(seconds(64, 0) / 0.0072);
    assert.ok(Math.max(...stretches(given, 64)) < 2.1, `tokens ${given}`);
    const late = given.slice(20).filter((n) => n > 0);
    assert.ok(Math.min(...late) >= 0.9 * affordable, `of ${affordable} affordable: ${given}`);
    assert.ok(late.length > 150, 'most steps have prompt tokens');
  });

  test('is that of one decode, also when many ran before', () => {
    const budget = new PrefillBudget(2, 512);
    steps(budget, 64, 40, false);
    steps(budget, 64, 40);
    const given = steps(budget, 1, 100).slice(1); // the first was put together when nothing was known of one
    assert.ok(Math.max(...stretches(given.slice(8), 1)) < 2.1, `tokens ${given}`);
  });

  test('asks for a step of decodes alone before it is known what they cost', () => {
    const budget = new PrefillBudget(2, 512);
    assert.deepEqual(steps(budget, 3, 4), [0, 0, 16, 16]);
  });
});

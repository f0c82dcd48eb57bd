// The scheduler counts what its steps had to read and compute.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StepWork } from '#vitrine/model/step-work.js';
import { fakePreparedModel } from '../support/fake-prepared-model.js';
import { generateMessage, SchedulerHarness } from '../support/scheduler-harness.js';

test('work and time are summed by kind of step', async () => {
  const plain = fakePreparedModel();
  const spec = { ...plain.spec, layers: [{ slidingWindow: 0, moe: null, float8: ['o_proj' as const] }] };
  const harness = new SchedulerHarness({
    model: { ...plain, spec },
    scheduler: { chunkedPrefillSize: 8, disableOverlapSchedule: true },
    engine: { stepMs: () => 3 },
  });
  await harness.generate(generateMessage([3, 4, 5, 6, 7, 8, 9, 10, 11, 12], { maxNewTokens: 4, ignoreEos: true }));
  const { extend, decode, mixed } = (await harness.state()).stepWork;
  await harness.close();
  const work = new StepWork(spec);
  // Two chunks of the prompt, of which the second gives logits; then three tokens.
  const chunks = [work.of([8], [8], 0), work.of([2], [10])];
  const decodes = [work.of([1], [11]), work.of([1], [12]), work.of([1], [13])];
  const total = (list: typeof chunks, key: 'flops' | 'float8Flops' | 'bytes') =>
    list.reduce((sum, each) => sum + each[key], 0);
  assert.deepEqual(
    [extend, decode, mixed].map(({ seconds, ...counted }) => counted),
    [
      {
        steps: 2,
        flops: total(chunks, 'flops'),
        float8Flops: total(chunks, 'float8Flops'),
        bytes: total(chunks, 'bytes'),
      },
      {
        steps: 3,
        flops: total(decodes, 'flops'),
        float8Flops: total(decodes, 'float8Flops'),
        bytes: total(decodes, 'bytes'),
      },
      { steps: 0, flops: 0, float8Flops: 0, bytes: 0 },
    ],
  );
  // Timers have whole milliseconds and may fire a little early.
  assert.ok(extend.seconds >= 0.004 && decode.seconds >= 0.006, 'the time is that of the steps');
});

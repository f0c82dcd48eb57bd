// An abort at any moment: one final chunk, and everything the request held is free.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FinishReason } from '#vitrine/messages/outputs.js';
import { expectedResult } from '../support/fake-model.js';
import { generateMessage, type Result, SchedulerHarness } from '../support/scheduler-harness.js';

const prompt = (length: number, first = 3) => Array.from({ length }, (_, i) => 3 + ((first + i) % 50));
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await condition()); i++) {
    assert.ok(i < 10_000, 'it never happened');
    await turn();
  }
}

function assertAborted(result: Result): void {
  const finish = result.finish as Extract<FinishReason, { type: 'abort' }>;
  assert.deepEqual(finish, { type: 'abort', message: 'enough', statusCode: 499, errType: 'AbortError' });
}

async function assertNothingHeld(harness: SchedulerHarness): Promise<void> {
  const state = await harness.state();
  assert.deepEqual([state.runningRequests, state.queuedRequests, state.usedTokens], [0, 0, 0]);
  const message = generateMessage(prompt(20), { ignoreEos: true });
  assert.deepEqual((await harness.generate(message)).tokenIds, expectedResult(message).tokenIds);
  await harness.close();
}

for (const disableRadixCache of [false, true]) {
  for (const disableOverlapSchedule of [false, true]) {
    const scheduler = { pageSize: 4, chunkedPrefillSize: 8, disableRadixCache, disableOverlapSchedule };
    const name = `${disableRadixCache ? 'no cache' : 'radix cache'}, ${disableOverlapSchedule ? 'no overlap' : 'overlap'}`;

    test(`before anything was computed: ${name}`, async () => {
      const harness = new SchedulerHarness({ scheduler });
      const message = generateMessage(prompt(20));
      const result = harness.generate(message);
      harness.abort(message.rid, 'enough');
      assertAborted(await result);
      await assertNothingHeld(harness);
    });

    test(`in the queue: ${name}`, async () => {
      const harness = new SchedulerHarness({ scheduler: { ...scheduler, maxRunningRequests: 1 } });
      const running = harness.generate(generateMessage(prompt(5), { maxNewTokens: 30, ignoreEos: true }));
      const message = generateMessage(prompt(20));
      const result = harness.generate(message);
      await until(async () => (await harness.state()).runningRequests === 1);
      harness.abort(message.rid, 'enough');
      assertAborted(await result);
      assert.equal((await running).tokenIds.length, 30);
      await assertNothingHeld(harness);
    });

    for (const steps of [1, 2, 3, 5, 8]) {
      test(`after ${steps} steps of prefill or decode: ${name}`, async () => {
        const harness = new SchedulerHarness({ scheduler });
        const message = generateMessage(prompt(30), { maxNewTokens: 100, ignoreEos: true });
        const result = harness.generate(message);
        await until(async () => (await harness.state()).forwardSteps >= steps);
        harness.abort(message.rid, 'enough');
        const aborted = await result;
        assertAborted(aborted);
        assert.deepEqual(aborted.tokenIds, expectedResult(message).tokenIds.slice(0, aborted.tokenIds.length));
        assert.equal((await harness.state()).abortedTotal, 1);
        await assertNothingHeld(harness);
      });
    }
  }
}

test('while it waits after a retraction', async () => {
  const scheduler = { pageSize: 1, maxTotalTokens: 66 };
  const harness = new SchedulerHarness({ scheduler, engine: { stepMs: () => 1 } });
  const messages = [0, 20].map((first) => generateMessage(prompt(3, first), { maxNewTokens: 40, ignoreEos: true }));
  const results = messages.map((message) => harness.generate(message));
  await until(async () => (await harness.state()).retractionsTotal > 0);
  const state = await harness.state();
  assert.deepEqual([state.runningRequests, state.queuedRequests], [1, 1]);
  harness.abort(messages[1]!.rid, 'enough');
  const [kept, aborted] = await Promise.all(results);
  assertAborted(aborted!);
  assert.equal(aborted!.chunks.at(-1)!.retractions, 1);
  assert.deepEqual(kept!.tokenIds, expectedResult(messages[0]!).tokenIds);
  await assertNothingHeld(harness);
});

test('an unknown or finished request is ignored', async () => {
  const harness = new SchedulerHarness();
  harness.abort('never heard of');
  const message = generateMessage(prompt(5));
  await harness.generate(message);
  harness.abort(message.rid);
  await assertNothingHeld(harness);
});

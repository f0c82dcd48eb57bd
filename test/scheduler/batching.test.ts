// What goes into a step: chunks, mixed batches, limits, overlap, order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import type { FakeStep } from '../support/fake-engine.js';
import { expectedResult } from '../support/fake-model.js';
import { generateMessage, type Result, SchedulerHarness } from '../support/scheduler-harness.js';

const prompt = (length: number, first = 0) => Array.from({ length }, (_, i) => 3 + ((first * 7 + i) % 57));

class Recorder {
  readonly steps: FakeStep[] = [];
  readonly harness: SchedulerHarness;

  constructor(scheduler: Partial<SchedulerOptions> = {}) {
    this.harness = new SchedulerHarness({ scheduler, engine: { onStep: (step) => this.steps.push(step) } });
  }

  get counts(): readonly (readonly number[])[] {
    return this.steps.map(({ counts }) => counts);
  }

  async run(...messages: ReturnType<typeof generateMessage>[]): Promise<Result[]> {
    const results = await Promise.all(messages.map((message) => this.harness.generate(message)));
    results.forEach((result, i) => {
      assert.deepEqual(result.tokenIds, expectedResult(messages[i]!).tokenIds);
    });
    return results;
  }
}

const long = { maxNewTokens: 8, ignoreEos: true };

describe('prefill', () => {
  test('a long prompt is cut into chunks', async () => {
    const { harness, counts, run } = bind(new Recorder({ chunkedPrefillSize: 16 }));
    await run(generateMessage(prompt(40), { maxNewTokens: 1 }));
    assert.deepEqual(counts(), [[16], [16], [8]]);
    await harness.close();
  });

  test('several prompts share the token budget of a step', async () => {
    const { harness, counts, run } = bind(new Recorder({ chunkedPrefillSize: 16, disableRadixCache: true }));
    await run(...[10, 10, 3].map((length, i) => generateMessage(prompt(length, i), { maxNewTokens: 1 })));
    assert.deepEqual(counts(), [
      [10, 6],
      [4, 3],
    ]);
    await harness.close();
  });

  // As in SGLang, 0 is as good as -1.
  for (const chunkedPrefillSize of [-1, 0]) {
    test(`chunks of ${chunkedPrefillSize}: whole prompts go in, up to --max-prefill-tokens unless one alone is longer`, async () => {
      const { harness, counts, run } = bind(
        new Recorder({ chunkedPrefillSize, maxPrefillTokens: 20, disableRadixCache: true }),
      );
      await run(...[30, 12, 8, 4].map((length, i) => generateMessage(prompt(length, i), { maxNewTokens: 1 })));
      assert.deepEqual(counts(), [[30], [12, 8], [4]]);
      await harness.close();
    });
  }

  test('nothing to generate: prefill only', async () => {
    const { harness, counts, run } = bind(new Recorder({ chunkedPrefillSize: 4 }));
    const [result] = await run(generateMessage(prompt(6), { maxNewTokens: 0 }));
    assert.deepEqual(result!.finish, { type: 'length', length: 0 });
    assert.equal(result!.chunks.length, 1);
    assert.deepEqual(counts(), [[4], [2]]);
    await harness.close();
  });
});

/** The recorder's parts, with `counts` as a function of the moment. */
function bind(recorder: Recorder) {
  return {
    harness: recorder.harness,
    steps: recorder.steps,
    counts: () => recorder.counts,
    run: (...messages: ReturnType<typeof generateMessage>[]) => recorder.run(...messages),
  };
}

describe('mixed batches', () => {
  async function decodeWhilePrefilling(enableMixedChunk: boolean): Promise<readonly (readonly number[])[]> {
    const recorder = new Recorder({ chunkedPrefillSize: 8, enableMixedChunk, disableOverlapSchedule: true });
    const { harness } = recorder;
    const first = generateMessage(prompt(4), { maxNewTokens: 20, ignoreEos: true });
    const second = generateMessage(prompt(32, 1), { maxNewTokens: 2, ignoreEos: true });
    let late: Promise<Result> | undefined;
    harness.onChunk = () => {
      late ??= harness.generate(second);
    };
    await recorder.run(first);
    assert.deepEqual((await late!).tokenIds, expectedResult(second).tokenIds);
    await harness.close();
    return recorder.counts;
  }

  test('on: decodes go on beside the chunks of a new prompt', async () => {
    const counts = await decodeWhilePrefilling(true);
    assert.equal(counts.filter(([first, chunk]) => first === 1 && chunk === 8).length, 4);
  });

  test('off: prefill steps come first, decodes wait', async () => {
    const counts = await decodeWhilePrefilling(false);
    const chunks = counts.map((step) => step.includes(8));
    assert.equal(chunks.filter(Boolean).length, 4);
    assert.equal(chunks.lastIndexOf(true) - chunks.indexOf(true), 3, 'in a row');
    for (const step of counts) assert.ok(!step.includes(8) || step.length === 1, `mixed: ${step}`);
  });
});

test('no more requests in a step than --max-running-requests', async () => {
  const { harness, steps, run } = bind(new Recorder({ maxRunningRequests: 3 }));
  await run(...Array.from({ length: 10 }, (_, i) => generateMessage(prompt(4, i), long)));
  assert.equal(Math.max(...steps.map(({ numRequests }) => numRequests)), 3);
  await harness.close();
});

describe('overlap', () => {
  test('on: a step is queued while one runs, never more', async () => {
    const { harness, steps, run } = bind(new Recorder());
    await run(generateMessage(prompt(4), long));
    assert.equal(Math.max(...steps.map(({ queued }) => queued)), 2);
    assert.ok(steps.filter(({ queued }) => queued === 2).length >= steps.length - 2, 'the engine hardly ever waits');
    await harness.close();
  });

  test('off: one at a time', async () => {
    const { harness, steps, run } = bind(new Recorder({ disableOverlapSchedule: true }));
    await run(generateMessage(prompt(4), long), generateMessage(prompt(4, 1), long));
    assert.equal(Math.max(...steps.map(({ queued }) => queued)), 1);
    await harness.close();
  });

  test('the end by length is foreseen: no step is wasted', async () => {
    const { harness, steps, run } = bind(new Recorder());
    await run(generateMessage(prompt(4), long));
    assert.equal(steps.length, 8);
    await harness.close();
  });

  test('the end by a stop token costs at most the step in flight', async () => {
    const { harness, steps, run } = bind(new Recorder());
    const tokens = expectedResult(generateMessage(prompt(4), long)).tokenIds;
    const [result] = await run(generateMessage(prompt(4), { ...long, stopTokenIds: [tokens[4]!] }));
    const generated = result!.tokenIds.length;
    assert.deepEqual(result!.finish, { type: 'stop', matched: tokens[4] });
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(steps.length === generated + 1, `${steps.length} steps for ${generated} tokens`);
    await harness.close();
  });
});

describe('prefixes', () => {
  test('are computed once, also by requests of the same step', async () => {
    const recorder = new Recorder({ pageSize: 4 });
    const messages = [50, 51, 52].map((last) => generateMessage([...prompt(16), last], { maxNewTokens: 1 }));
    const results = await recorder.run(...messages);
    assert.deepEqual(recorder.counts, [[17, 1, 1]]);
    assert.deepEqual(
      results.map(({ chunks }) => chunks[0]!.cachedTokens),
      [0, 16, 16],
    );
    const state = await recorder.harness.state();
    assert.deepEqual([state.promptTokensTotal, state.cachedTokensTotal], [51, 32]);
    await recorder.harness.close();
  });

  test('a finished request leaves prompt and output behind; a flush forgets them', async () => {
    const recorder = new Recorder({ pageSize: 4 });
    const first = generateMessage(prompt(10), { maxNewTokens: 6, ignoreEos: true });
    await recorder.run(first);
    const next = () => generateMessage([...first.inputIds, ...expectedResult(first).tokenIds, 9], { maxNewTokens: 1 });
    assert.equal((await recorder.run(next()))[0]!.chunks[0]!.cachedTokens, 12, 'the last token was never computed');
    assert.equal(await recorder.harness.flushCache(), true);
    assert.equal((await recorder.harness.state()).cachedTokens, 0);
    assert.equal((await recorder.run(next()))[0]!.chunks[0]!.cachedTokens, 0);
    await recorder.harness.close();
  });

  test('--disable-radix-cache: nothing is kept', async () => {
    const recorder = new Recorder({ pageSize: 4, disableRadixCache: true });
    for (let i = 0; i < 2; i++) {
      const [result] = await recorder.run(generateMessage(prompt(16), { maxNewTokens: 1 }));
      assert.equal(result!.chunks[0]!.cachedTokens, 0);
    }
    assert.deepEqual(recorder.counts, [[16], [16]]);
    await recorder.harness.close();
  });
});

describe('order', () => {
  async function startOrder(
    schedulePolicy: 'fcfs' | 'lpm',
    prompts: readonly (readonly number[])[],
  ): Promise<number[]> {
    const harness = new SchedulerHarness({ scheduler: { schedulePolicy, maxRunningRequests: 1, pageSize: 4 } });
    const blocker = harness.generate(generateMessage(prompt(16), { maxNewTokens: 4, ignoreEos: true }));
    const order: number[] = [];
    const rids = new Map<string, number>();
    harness.onChunk = ({ rid, times }) => {
      if (times !== undefined && rids.has(rid)) order.push(rids.get(rid)!);
    };
    const messages = prompts.map((ids) => generateMessage(ids, { maxNewTokens: 1 }));
    messages.forEach((message, i) => {
      rids.set(message.rid, i);
    });
    await Promise.all([blocker, ...messages.map((message) => harness.generate(message))]);
    await harness.close();
    return order;
  }

  const prompts = [prompt(8, 3), [...prompt(5), 60, 60, 60], prompt(16)];

  test('fcfs: order of arrival', async () => assert.deepEqual(await startOrder('fcfs', prompts), [0, 1, 2]));
  test('lpm: longest cached prefix first', async () => assert.deepEqual(await startOrder('lpm', prompts), [2, 1, 0]));
  test('lpm: no one is passed over for ever', async () => {
    const flood = Array.from({ length: 100 }, () => prompt(16));
    const order = await startOrder('lpm', [prompt(8, 3), ...flood]);
    assert.equal(order.indexOf(0), 64);
  });
});

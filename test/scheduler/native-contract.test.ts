// The scheduler on the native engine: under every way of batching, chunking, caching and retracting, each request gets bit
// for bit the tokens and log-probabilities that it gets alone.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import type { GenerateMessage } from '#vitrine/messages/requests.js';
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel, readReference } from '../reference/reference-files.js';
import { RandomChoices } from '../support/random-choices.js';
import { generateMessage, type Result, SchedulerHarness } from '../support/scheduler-harness.js';

const BASE: Partial<SchedulerOptions> = { cpuThreads: 2, maxTotalTokens: 2048, maxRunningRequests: 16 };

/** Every option a way of its own to disturb a request. */
const VARIANTS: readonly (readonly [string, Partial<SchedulerOptions>])[] = [
  ['all at once', {}],
  ['pages of 1, chunks of 7', { pageSize: 1, chunkedPrefillSize: 7 }],
  ['pages of 3, chunks of 64, separate steps', { pageSize: 3, chunkedPrefillSize: 64, enableMixedChunk: false }],
  ['no chunks, no overlap', { chunkedPrefillSize: -1, disableOverlapSchedule: true }],
  ['no radix cache, chunks of 16', { disableRadixCache: true, chunkedPrefillSize: 16 }],
  ['little memory', { pageSize: 4, maxTotalTokens: 320, chunkedPrefillSize: 32 }],
];

function randomRequests(seed: number, vocabSize: number): GenerateMessage[] {
  const random = new RandomChoices(seed);
  const ids = (count: number) => Array.from({ length: count }, () => random.integer(3, vocabSize - 1));
  const prefix = ids(70);
  return Array.from({ length: 20 }, () => {
    const inputIds = [...prefix.slice(0, random.pick([0, 33, 70])), ...ids(random.integer(1, 60))];
    const penalized = random.chance(0.4);
    return generateMessage(
      inputIds,
      {
        maxNewTokens: random.integer(1, 50),
        minNewTokens: random.integer(0, 3),
        ignoreEos: random.chance(0.8),
        temperature: random.pick([0, 0, 0.7, 1.3]),
        topK: random.pick([-1, 20]),
        topP: random.pick([1, 0.9]),
        minP: random.pick([0, 0.05]),
        seed: random.integer(0, 2 ** 31) * 2 ** 20,
        frequencyPenalty: penalized ? 0.5 : 0,
        presencePenalty: penalized ? 0.25 : 0,
        repetitionPenalty: penalized ? 1.25 : 1,
        logitBias: random.chance(0.3) ? [[random.integer(3, vocabSize - 1), 2]] : [],
      },
      random.chance(0.6)
        ? {
            startLen: random.integer(-1, inputIds.length),
            topCount: random.integer(0, 4),
            tokenIds: ids(random.integer(0, 2)),
          }
        : null,
    );
  });
}

/** What must not depend on the company: all but times and cache hits. */
const essence = ({ tokenIds, finish, input, output }: Result) => ({
  tokenIds,
  finish,
  input,
  output: {
    ids: output.flatMap(({ ids }) => ids),
    values: output.flatMap(({ values }) => values),
    top: output.flatMap(({ top }) => top),
    watched: output.flatMap(({ watched }) => watched),
  },
});

for (const name of ['tiny-llama3-rope', 'tiny-qwen3-moe', 'tiny-mistral-sw']) {
  describe(name, () => {
    let model: PreparedModel;
    let requests: GenerateMessage[];
    let alone: Result[];

    const harness = (scheduler: Partial<SchedulerOptions>) =>
      new SchedulerHarness({ addon: loadAddon(), model, scheduler: { ...BASE, ...scheduler } });

    before(async () => {
      model = await prepareReferenceModel(name, { dtype: 'float32' });
      requests = randomRequests(name.length, model.spec.vocabSize);
      alone = [];
      const single = harness({ disableRadixCache: true, disableOverlapSchedule: true, chunkedPrefillSize: 4096 });
      for (const request of requests) alone.push(await single.generate(request));
      await single.close();
    });

    test('greedy tokens are those of the reference', async () => {
      const together = harness({});
      await Promise.all(
        readReference(name).cases.map(async ({ prompt_ids, greedy_ids }) => {
          const message = generateMessage(prompt_ids, { maxNewTokens: greedy_ids.length, ignoreEos: true });
          assert.deepEqual((await together.generate(message)).tokenIds, greedy_ids);
        }),
      );
      await together.close();
    });

    for (const [variant, options] of VARIANTS) {
      test(variant, async () => {
        const together = harness(options);
        const results = await Promise.all(requests.map((request) => together.generate(request)));
        results.forEach((result, i) => {
          assert.deepEqual(essence(result), essence(alone[i]!));
        });
        if (variant === 'little memory')
          assert.ok(together.scheduler.state.retractionsTotal > 0, 'nothing was retracted');
        await together.close();
      });
    }
  });
}

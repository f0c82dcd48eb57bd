// RandomChoices loads under every combination of options: each request must get the tokens and log-probabilities that it gets
// alone, exactly one final chunk, and the books of the cache must balance in the end.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SchedulerOptions } from '#vitrine/config/scheduler-options.js';
import type { TokenLogprobs } from '#vitrine/messages/outputs.js';
import type { GenerateMessage } from '#vitrine/messages/requests.js';
import { type ExpectedLogprob, expectedResult, FAKE_VOCAB_SIZE } from '../support/fake-model.js';
import { RandomChoices } from '../support/random-choices.js';
import { generateMessage, type Result, SchedulerHarness } from '../support/scheduler-harness.js';

const CONTEXT = 160;

interface Load {
  readonly requests: number;
  /** Share of requests that are aborted at some point. */
  readonly abortRate: number;
  /** Milliseconds over which requests arrive; 0: all at once. */
  readonly spreadMs: number;
  readonly stepMs?: (step: number) => number;
}

function randomPrompt(random: RandomChoices, prefixes: readonly (readonly number[])[]): number[] {
  const prefix = random.chance(0.6) ? random.pick(prefixes) : [];
  const shared = prefix.slice(0, random.integer(0, prefix.length));
  const own = Array.from({ length: random.integer(1, 40) }, () => random.integer(3, FAKE_VOCAB_SIZE - 1));
  return [...shared, ...own];
}

function randomRequest(random: RandomChoices, prefixes: readonly (readonly number[])[]): GenerateMessage {
  const inputIds = randomPrompt(random, prefixes);
  const room = Math.min(40, CONTEXT - inputIds.length);
  const maxNewTokens = random.chance(0.05) ? 0 : random.integer(1, room);
  const penalized = random.chance(0.3);
  const sampled = random.chance(0.5);
  const logprobs = random.chance(0.3)
    ? {
        startLen: random.integer(-1, inputIds.length),
        topCount: random.integer(0, 3),
        tokenIds: random.chance(0.5) ? [random.integer(0, FAKE_VOCAB_SIZE - 1), 5] : [],
      }
    : null;
  const sampling = {
    maxNewTokens,
    minNewTokens: random.chance(0.3) ? random.integer(0, maxNewTokens) : 0,
    temperature: sampled ? random.integer(1, 20) / 10 : 0,
    topK: sampled && random.chance(0.5) ? random.integer(1, 10) : -1,
    seed: random.integer(0, 2 ** 31) * random.integer(0, 2 ** 22),
    frequencyPenalty: penalized ? random.integer(-10, 10) / 10 : 0,
    presencePenalty: penalized ? random.integer(-10, 10) / 10 : 0,
    repetitionPenalty: penalized ? random.integer(5, 20) / 10 : 1,
    logitBias: random.chance(0.2) ? [[random.integer(0, FAKE_VOCAB_SIZE - 1), random.integer(-5, 5)] as const] : [],
    stopTokenIds: random.chance(0.3) ? [random.integer(0, FAKE_VOCAB_SIZE - 1), 7] : [],
    ignoreEos: random.chance(0.3),
  };
  return generateMessage(inputIds, sampling, logprobs);
}

function assertLogprobs(actual: readonly TokenLogprobs[], expected: readonly ExpectedLogprob[], what: string): void {
  const close = (a: number, b: number) => Math.abs(a - b) < 1e-5;
  const pairs = (a: TokenLogprobs['top'][number], b: ExpectedLogprob['top']) => {
    assert.equal(a === null, b === null, what);
    assert.deepEqual(
      a?.map(([id]) => id),
      b?.map(([id]) => id),
      what,
    );
    a?.forEach(([, value], i) => {
      assert.ok(close(value, b![i]![1]), what);
    });
  };
  const flat = actual.flatMap((list) =>
    list.ids.map((id, i) => ({ id, value: list.values[i]!, top: list.top[i]!, watched: list.watched[i]! })),
  );
  assert.deepEqual(
    flat.map(({ id }) => id),
    expected.map(({ id }) => id),
    what,
  );
  flat.forEach(({ value, top, watched }, i) => {
    const wanted = expected[i]!;
    assert.ok(value === wanted.value || close(value!, wanted.value!), `${what}: value ${i}`);
    pairs(top, wanted.top);
    pairs(watched, wanted.watched);
  });
}

function assertResult(message: GenerateMessage, result: Result, capacity: number, mayAbort: boolean): void {
  const expected = expectedResult(message, capacity);
  const what = `request ${message.rid}`;
  if (mayAbort && result.finish.type === 'abort') {
    assert.equal(result.finish.statusCode, 499, what);
    assert.deepEqual(result.tokenIds, expected.tokenIds.slice(0, result.tokenIds.length), what);
    return;
  }
  assert.deepEqual(result.tokenIds, expected.tokenIds, what);
  assert.deepEqual(result.finish, expected.finish, what);
  if (message.logprobs === null) {
    assert.deepEqual(result.output, [], what);
    return;
  }
  assertLogprobs(result.output, expected.output, `${what}, output`);
  if (message.logprobs.startLen < 0) assert.equal(result.input, undefined, what);
  else assertLogprobs([result.input!], expected.input, `${what}, input`);
}

async function runLoad(seed: number, scheduler: Partial<SchedulerOptions>, load: Load): Promise<SchedulerHarness> {
  const random = new RandomChoices(seed);
  const harness = new SchedulerHarness({
    scheduler,
    contextLength: CONTEXT,
    engine: load.stepMs === undefined ? {} : { stepMs: load.stepMs },
  });
  const { numBlocks, blockSize } = harness.runner.limits;
  const prefixes = Array.from({ length: 3 }, () =>
    Array.from({ length: random.integer(5, 70) }, () => random.integer(3, FAKE_VOCAB_SIZE - 1)),
  );
  const runs = Array.from({ length: load.requests }, async () => {
    const message = randomRequest(random, prefixes);
    const aborts = random.chance(load.abortRate);
    const abortAfter = random.integer(0, 20);
    if (load.spreadMs > 0) await new Promise((resolve) => setTimeout(resolve, random.integer(0, load.spreadMs)));
    const running = harness.generate(message);
    if (aborts) setTimeout(() => harness.abort(message.rid), abortAfter);
    assertResult(message, await running, numBlocks * blockSize, aborts);
  });
  await Promise.all(runs);
  await harness.close();
  return harness;
}

const PAGE_SIZES = [1, 3, 16];
const CHUNK_SIZES = [1, 7, 64, -1];
const SWITCHES = [false, true];

describe('every combination of options', () => {
  let seed = 1;
  for (const pageSize of PAGE_SIZES) {
    for (const chunkedPrefillSize of CHUNK_SIZES) {
      test(`pages of ${pageSize}, chunks of ${chunkedPrefillSize}`, async () => {
        for (const enableMixedChunk of SWITCHES) {
          for (const disableOverlapSchedule of SWITCHES) {
            for (const disableRadixCache of SWITCHES) {
              for (const schedulePolicy of ['fcfs', 'lpm'] as const) {
                const options = {
                  pageSize,
                  chunkedPrefillSize,
                  enableMixedChunk,
                  disableOverlapSchedule,
                  disableRadixCache,
                  schedulePolicy,
                  maxTotalTokens: 192,
                  maxPrefillTokens: 96,
                  maxRunningRequests: 6,
                };
                seed += 1;
                await runLoad(seed, options, { requests: 16, abortRate: 0.15, spreadMs: 0 });
              }
            }
          }
        }
      });
    }
  }
});

test('many requests that arrive over time in a small cache are retracted and none loses a token', async () => {
  let retractions = 0;
  for (let seed = 100; seed < 106; seed++) {
    const harness = await runLoad(
      seed,
      { pageSize: 4, maxTotalTokens: 200, chunkedPrefillSize: 32, maxRunningRequests: 12 },
      { requests: 60, abortRate: 0.1, spreadMs: 60, stepMs: (step) => step % 3 },
    );
    retractions += harness.scheduler.state.retractionsTotal;
  }
  assert.ok(retractions > 10, `only ${retractions} retractions`);
});

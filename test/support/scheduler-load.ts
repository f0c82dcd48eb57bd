// Random loads for a scheduler on the fake engine. Each request must get the tokens and log-probabilities that it gets
// alone, exactly one final chunk, and the books of the cache must balance in the end.
import assert from 'node:assert/strict';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import type { TokenLogprobs } from '#vitrine/messages/outputs.js';
import type { GenerateMessage, LogprobOptions, SamplingParams } from '#vitrine/messages/requests.js';
import { type ExpectedLogprob, expectedResult, FAKE_VOCAB_SIZE } from './fake-model.js';
import { RandomChoices } from './random-choices.js';
import { generateMessage, type Result, SchedulerHarness } from './scheduler-harness.js';

export const LOAD_CONTEXT = 160;

export interface Load {
  readonly requests: number;
  /** Longest part of a prompt that is not a shared prefix. */
  readonly maxOwnTokens?: number;
  readonly maxNewTokens?: number;
  /** Share of requests that do not stop at the eos token. */
  readonly ignoreEosRate?: number;
  /** Share of requests that are aborted at some point. */
  readonly abortRate?: number;
  /** Milliseconds over which requests arrive; 0: all at once. */
  readonly spreadMs?: number;
  readonly stepMs?: (step: number) => number;
}

/** Runs the load to its end; the harness is closed. */
export async function runLoad(
  seed: number,
  scheduler: Partial<SchedulerOptions>,
  load: Load,
): Promise<SchedulerHarness> {
  const random = new RandomChoices(seed);
  const harness = new SchedulerHarness({
    scheduler,
    contextLength: LOAD_CONTEXT,
    engine: load.stepMs === undefined ? {} : { stepMs: load.stepMs },
  });
  const { numBlocks, blockSize } = harness.runner.limits;
  const { spreadMs = 0, abortRate = 0 } = load;
  const prefixes = Array.from({ length: 3 }, () => randomIds(random, random.integer(5, 70)));
  const runs = Array.from({ length: load.requests }, async () => {
    const message = randomRequest(random, prefixes, load);
    const aborts = random.chance(abortRate);
    const abortAfter = random.integer(0, 20);
    const arrival = random.integer(0, spreadMs);
    if (arrival > 0) await new Promise((resolve) => setTimeout(resolve, arrival));
    const running = harness.generate(message);
    if (aborts) setTimeout(() => harness.abort(message.rid), abortAfter);
    assertResult(message, await running, numBlocks * blockSize, aborts);
  });
  await Promise.all(runs);
  await harness.close();
  return harness;
}

function randomIds(random: RandomChoices, count: number): number[] {
  return Array.from({ length: count }, () => random.integer(3, FAKE_VOCAB_SIZE - 1));
}

function randomRequest(
  random: RandomChoices,
  prefixes: readonly (readonly number[])[],
  { maxOwnTokens = 40, maxNewTokens = 40, ignoreEosRate = 0.3 }: Load,
): GenerateMessage {
  const prefix = random.chance(0.6) ? random.pick(prefixes) : [];
  const inputIds = [
    ...prefix.slice(0, random.integer(0, prefix.length)),
    ...randomIds(random, random.integer(1, maxOwnTokens)),
  ];
  const newTokens = random.chance(0.05) ? 0 : random.integer(1, Math.min(maxNewTokens, LOAD_CONTEXT - inputIds.length));
  const sampling = randomSampling(random, newTokens, ignoreEosRate);
  return generateMessage(inputIds, sampling, random.chance(0.3) ? randomLogprobs(random, inputIds.length) : null);
}

function randomSampling(random: RandomChoices, maxNewTokens: number, ignoreEosRate: number): Partial<SamplingParams> {
  const penalized = random.chance(0.3);
  const sampled = random.chance(0.5);
  return {
    maxNewTokens,
    minNewTokens: random.chance(0.3) ? random.integer(0, maxNewTokens) : 0,
    temperature: sampled ? random.integer(1, 20) / 10 : 0,
    topK: sampled && random.chance(0.5) ? random.integer(1, 10) : -1,
    seed: random.integer(0, 2 ** 31) * random.integer(0, 2 ** 22),
    frequencyPenalty: penalized ? random.integer(-10, 10) / 8 : 0,
    presencePenalty: penalized ? random.integer(-10, 10) / 8 : 0,
    repetitionPenalty: penalized ? random.integer(5, 20) / 8 : 1, // exact in float32
    logitBias: random.chance(0.2) ? [[random.integer(0, FAKE_VOCAB_SIZE - 1), random.integer(-5, 5)] as const] : [],
    stopTokenIds: random.chance(0.3) ? [random.integer(0, FAKE_VOCAB_SIZE - 1), 7] : [],
    ignoreEos: random.chance(ignoreEosRate),
  };
}

function randomLogprobs(random: RandomChoices, promptLen: number): LogprobOptions {
  return {
    startLen: random.integer(-1, promptLen),
    topCount: random.integer(0, 3),
    tokenIds: random.chance(0.5) ? [random.integer(0, FAKE_VOCAB_SIZE - 1), 5] : [],
  };
}

/** The result is what the request gets alone; if it may have been aborted, a beginning of that. */
export function assertResult(message: GenerateMessage, result: Result, capacity: number, mayAbort = false): void {
  const what = `request ${message.rid}`;
  if (message.inputIds.length > capacity) {
    assert.ok(result.finish.type === 'abort' && result.finish.statusCode === 400, what);
    return;
  }
  const expected = expectedResult(message, capacity);
  if (mayAbort && result.finish.type === 'abort') {
    assert.equal(result.finish.statusCode, 499, what);
    assert.deepEqual(result.tokenIds, expected.tokenIds.slice(0, result.tokenIds.length), what);
    return;
  }
  assert.deepEqual(result.finish, expected.finish, what);
  assert.deepEqual(result.tokenIds, expected.tokenIds, what);
  if (message.logprobs === null) {
    assert.deepEqual(result.output, [], what);
    return;
  }
  assertLogprobs(result.output, expected.output, `${what}, output`);
  if (message.logprobs.startLen < 0) assert.equal(result.input, undefined, what);
  else assertLogprobs([result.input!], expected.input, `${what}, input`);
}

const isClose = (a: number, b: number) => Math.abs(a - b) < 1e-5;

function assertLogprobs(actual: readonly TokenLogprobs[], expected: readonly ExpectedLogprob[], what: string): void {
  const flat = actual.flatMap(({ ids, values, top, watched }) =>
    ids.map((id, i) => ({ id, value: values[i]!, top: top[i]!, watched: watched[i]! })),
  );
  assert.deepEqual(
    flat.map(({ id }) => id),
    expected.map(({ id }) => id),
    what,
  );
  flat.forEach(({ value, top, watched }, i) => {
    const wanted = expected[i]!;
    assert.ok(value === wanted.value || isClose(value!, wanted.value!), `${what}: value ${i}`);
    assertPairs(top, wanted.top, `${what}: top ${i}`);
    assertPairs(watched, wanted.watched, `${what}: watched ${i}`);
  });
}

function assertPairs(actual: TokenLogprobs['top'][number], expected: ExpectedLogprob['top'], what: string): void {
  const ids = (pairs: typeof actual) => pairs?.map(([id]) => id) ?? null;
  assert.deepEqual(ids(actual), ids(expected), what);
  actual?.forEach(([, value], i) => {
    assert.ok(isClose(value, expected![i]![1]), what);
  });
}

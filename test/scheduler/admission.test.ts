// What a scheduler refuses, with which words, and that it goes on afterwards.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { FinishReason } from '#vitrine/messages/outputs.js';
import type { LogprobOptions, SamplingParams } from '#vitrine/messages/requests.js';
import { expectedResult } from '../support/fake-model.js';
import { generateMessage, type HarnessOptions, type Result, SchedulerHarness } from '../support/scheduler-harness.js';

const PROMPT = [5, 6, 7];
const prompt = (length: number) => Array.from({ length }, (_, i) => 3 + (i % 50));

function assertRefused(result: Result, statusCode: number, ...words: RegExp[]): void {
  const finish = result.finish as Extract<FinishReason, { type: 'abort' }>;
  assert.equal(finish.type, 'abort');
  assert.equal(finish.statusCode, statusCode);
  for (const word of words) assert.match(finish.message, word);
  assert.deepEqual([result.tokenIds, result.chunks.length], [[], 1]);
}

async function refuse(
  message: ReturnType<typeof generateMessage>,
  options: HarnessOptions,
  statusCode: number,
  ...words: RegExp[]
): Promise<void> {
  const harness = new SchedulerHarness(options);
  assertRefused(await harness.generate(message), statusCode, ...words);
  const sound = generateMessage(PROMPT);
  assert.deepEqual((await harness.generate(sound)).tokenIds, expectedResult(sound).tokenIds);
  await harness.close();
}

describe('lengths', () => {
  test('an empty prompt', () => refuse(generateMessage([]), {}, 400, /empty/));

  test('a prompt longer than the context: both numbers', () =>
    refuse(generateMessage(prompt(65), { maxNewTokens: 0 }), { contextLength: 64 }, 400, /65 tokens/, /holds 64/));

  test('prompt and new tokens longer than the context: all numbers', () =>
    refuse(
      generateMessage(prompt(60), { maxNewTokens: 5 }),
      { contextLength: 64 },
      400,
      /65 tokens/,
      /60 .* 5 /,
      /holds 64/,
    ));

  test('a prompt longer than the KV cache: both numbers', () =>
    refuse(
      generateMessage(prompt(33), { maxNewTokens: 4 }),
      { scheduler: { maxTotalTokens: 32 } },
      400,
      /33 tokens/,
      /holds 32/,
    ));

  test('what fills the context to the last token is run', async () => {
    const harness = new SchedulerHarness({ contextLength: 64 });
    const message = generateMessage(prompt(60), { maxNewTokens: 4, ignoreEos: true });
    assert.deepEqual((await harness.generate(message)).tokenIds, expectedResult(message).tokenIds);
    await harness.close();
  });

  test('what fills the KV cache to the last token is run, and cut there', async () => {
    const harness = new SchedulerHarness({ scheduler: { maxTotalTokens: 32, pageSize: 8 } });
    for (const length of [32, 31, 8]) {
      const message = generateMessage(prompt(length), { maxNewTokens: 100, ignoreEos: true });
      const result = await harness.generate(message);
      assert.deepEqual(result.finish, { type: 'length', length: 33 - length });
      assert.deepEqual(result.tokenIds, expectedResult(message, 32).tokenIds);
    }
    await harness.close();
  });
});

describe('values that the engine would choke on', () => {
  const sampling: [string, Partial<SamplingParams>, RegExp][] = [
    ['temperature', { temperature: -1 }, /temperature: .* got -1/],
    ['temperature NaN', { temperature: Number.NaN }, /temperature/],
    ['top_k', { topK: 0 }, /top_k: .* got 0/],
    ['top_p', { topP: 0 }, /top_p/],
    ['min_p', { minP: 1.5 }, /min_p/],
    ['frequency_penalty', { frequencyPenalty: Number.POSITIVE_INFINITY }, /frequency_penalty/],
    ['presence_penalty', { presencePenalty: Number.NaN }, /presence_penalty/],
    ['repetition_penalty', { repetitionPenalty: 0 }, /repetition_penalty/],
    ['seed', { seed: 0.5 }, /seed/],
    ['logit_bias id', { logitBias: [[61, 1]] }, /logit_bias: .* 0 to 60 .* got 61: 1/],
    ['logit_bias value', { logitBias: [[1, Number.POSITIVE_INFINITY]] }, /logit_bias/],
    ['logit_bias lost in JSON', { logitBias: [[1, undefined as unknown as number]] }, /logit_bias/],
    ['max_new_tokens', { maxNewTokens: 1.5 }, /1\.5/],
    ['min_new_tokens', { minNewTokens: -1 }, /-1/],
  ];
  for (const [name, params, words] of sampling) {
    test(name, () => refuse(generateMessage(PROMPT, params), {}, 400, words));
  }
  test('prompt ids', async () => {
    for (const id of [61, -1, 1.5]) await refuse(generateMessage([5, id]), {}, 400, /Token 1 of the prompt/, /0 to 60/);
  });
  const logprobs: [string, Partial<LogprobOptions>, RegExp][] = [
    ['logprob_start_len', { startLen: 4 }, /logprob_start_len: expected -1 to 3 .* got 4/],
    ['top_logprobs_num', { topCount: 62 }, /top_logprobs_num: expected 0 to 61, got 62/],
    ['token_ids_logprob', { tokenIds: [1, 99] }, /token_ids_logprob: .* got 99/],
  ];
  for (const [name, part, words] of logprobs) {
    const message = generateMessage(PROMPT, {}, { startLen: -1, topCount: 0, tokenIds: [], ...part });
    test(name, () => refuse(message, {}, 400, words));
  }

  test('stop tokens outside the vocabulary are never sampled: they do no harm, also while suppressed', async () => {
    const harness = new SchedulerHarness();
    const message = generateMessage(PROMPT, { stopTokenIds: [1000, -5], minNewTokens: 4, ignoreEos: true });
    const same = generateMessage(PROMPT, { minNewTokens: 4, ignoreEos: true });
    assert.deepEqual((await harness.generate(message)).tokenIds, expectedResult(same).tokenIds);
    await harness.close();
  });
});

describe('lists that a GPU has no room for', () => {
  before(() => {
    process.env.VITRINE_CUDA_LIBRARY = '/the/fake/needs/none.so';
  });
  const gpu = { engine: { gpu: {} }, scheduler: { device: 'cuda' } } as const;
  const bias = (count: number) => ({ logitBias: Array.from({ length: count }, () => [7, 0.5] as const) });
  const logprobs = { startLen: -1, topCount: 0, tokenIds: [] };

  test('logit_bias, together with the stop tokens that min_new_tokens holds back', async () => {
    await refuse(generateMessage(PROMPT, bias(1025)), gpu, 400, /logit_bias: .* at most 1024 .* got 1025\./);
    const held = { ...bias(1000), minNewTokens: 1, ignoreEos: true };
    const stopTokenIds = Array.from({ length: 25 }, (_, i) => 10 + i);
    await refuse(generateMessage(PROMPT, { ...held, stopTokenIds }), gpu, 400, /got 1000 and 25 stop tokens/);
  });

  test('log-probabilities of more tokens than a row has room for', () =>
    refuse(
      generateMessage(PROMPT, {}, { ...logprobs, topCount: 50, tokenIds: Array.from({ length: 925 }, () => 7) }),
      gpu,
      400,
      /2 \* top_logprobs_num .* at most 1024 .* got 50 and 925 ids/,
    ));

  test('just fit, and a CPU takes any', async () => {
    for (const [options, count] of [
      [gpu, 1024],
      [{}, 5000],
    ] as const) {
      const harness = new SchedulerHarness(options);
      const asked = { ...logprobs, topCount: 2, tokenIds: Array.from({ length: count - 4 }, () => 7) };
      const result = await harness.generate(generateMessage(PROMPT, bias(count), asked));
      assert.equal(result.finish?.type, 'length');
      await harness.close();
    }
  });
});

test('a request with the id of a running one is refused; the running one goes on', async () => {
  const harness = new SchedulerHarness();
  const first = generateMessage(PROMPT, { ignoreEos: true });
  const finishes: FinishReason[] = [];
  harness.channel.onMessage((message) => {
    if (message.kind !== 'outputs') return;
    for (const { finish } of message.chunks) if (finish !== null) finishes.push(finish);
  });
  harness.channel.send(first);
  harness.channel.send({ ...first, inputIds: [9] });
  while (finishes.length < 2) await new Promise(setImmediate);
  assert.equal(finishes[0]!.type, 'abort');
  assert.deepEqual(finishes[1], { type: 'length', length: 16 });
  harness.scheduler.shutdown();
  await harness.scheduler.closed;
});

test('a full queue refuses with 503; running requests do not count', async () => {
  const harness = new SchedulerHarness({ scheduler: { maxRunningRequests: 1, maxQueuedRequests: 2 } });
  const first = generateMessage(PROMPT, { maxNewTokens: 40, ignoreEos: true });
  const running = harness.generate(first);
  while ((await harness.state()).runningRequests < 1) await new Promise(setImmediate);
  const messages = Array.from({ length: 5 }, () => generateMessage(PROMPT));
  const results = await Promise.all(messages.map((message) => harness.generate(message)));
  results.slice(0, 2).forEach((result, i) => {
    assert.deepEqual(result.tokenIds, expectedResult(messages[i]!).tokenIds);
  });
  for (const result of results.slice(2)) assertRefused(result, 503, /--max-queued-requests 2/);
  await running;
  await harness.close();
});

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { userAbort } from '#vitrine/frontend/finish-error.js';
import type { GenerateRequest } from '#vitrine/frontend/generate-request.js';
import type { RequestState } from '#vitrine/frontend/request-state.js';
import { parseSamplingParams } from '#vitrine/frontend/sampling-params.js';
import { SchedulerClient } from '#vitrine/frontend/scheduler-client.js';
import { TokenizerManager } from '#vitrine/frontend/tokenizer-manager.js';
import type { RankInfo } from '#vitrine/messages/control.js';
import { createLocalChannel } from '#vitrine/messages/local-channel.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { FAKE_INFO, FakeScheduler, type FakeSchedulerOptions } from '../support/fake-scheduler.js';
import { STORIES } from '../support/fake-server.js';
import { until } from '../support/http.js';

let tokenizer: Tokenizer;
before(async () => {
  tokenizer = await Tokenizer.load(STORIES);
});

interface Setup {
  readonly scheduler: FakeScheduler;
  readonly client: SchedulerClient;
  readonly manager: TokenizerManager;
}

function setUp(options: FakeSchedulerOptions & { info?: Partial<RankInfo>; noTokenizer?: boolean } = {}): Setup {
  const channel = createLocalChannel();
  const scheduler = new FakeScheduler(channel.scheduler, options);
  const client = new SchedulerClient(channel.frontend);
  const manager = new TokenizerManager({
    scheduler: client,
    info: { ...FAKE_INFO, ...options.info },
    tokenizer: options.noTokenizer ? null : tokenizer,
    chatTemplate: null,
    streamInterval: 1,
    randomSeed: 1,
  });
  return { scheduler, client, manager };
}

function request(
  prompt: string | number[],
  sampling: Record<string, unknown> = {},
  more: Partial<GenerateRequest> = {},
) {
  return {
    prompt: typeof prompt === 'string' ? { text: prompt, addSpecialTokens: true } : { inputIds: prompt },
    sampling: parseSamplingParams(sampling, { vocabSize: 512 }),
    defaultMaxNewTokens: 128,
    logprobs: null,
    ...more,
  } satisfies GenerateRequest;
}

interface Run {
  readonly states: readonly RequestState[];
  /** Text of each update. */
  readonly updates: string[];
  readonly done: Promise<void>;
}

async function start(manager: TokenizerManager, generate: GenerateRequest): Promise<Run> {
  const prepared = await manager.prepare(generate);
  const updates: string[] = [];
  let running = prepared.length;
  let finish!: () => void;
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const states = manager.start(prepared, (state) => {
    updates.push(state.text);
    if (state.finish !== null && --running === 0) finish();
  });
  return { states, updates, done };
}

async function generate(manager: TokenizerManager, generateRequest: GenerateRequest): Promise<RequestState> {
  const { states, done } = await start(manager, generateRequest);
  await done;
  return states[0]!;
}

/** Token ids whose text, one after the other, is `text`. */
async function idsOf(text: string): Promise<number[]> {
  return tokenizer.encode(text, false);
}

function rejects(promise: Promise<unknown>, code: string, ...words: (string | number)[]): Promise<void> {
  return assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof VitrineError, String(error));
    assert.equal(error.code, code);
    for (const word of words) assert.ok(error.message.includes(String(word)), `${error.message} lacks ${word}`);
    return true;
  });
}

test('text goes in and comes out; the scheduler gets ids and limits', async () => {
  const { scheduler, manager } = setUp();
  const state = await generate(manager, request('Once upon a time', { max_new_tokens: 5, temperature: 0 }));
  const ids = await tokenizer.encode('Once upon a time', true);
  const [message] = scheduler.generated;
  assert.deepEqual(message!.inputIds, ids);
  assert.equal(message!.sampling.maxNewTokens, 5);
  assert.equal(message!.sampling.temperature, 0);
  assert.deepEqual(state.tokenIds, ids);
  assert.equal(state.text, ' Once upon a time');
  assert.deepEqual(state.finish, { type: 'length', length: 5 });
  assert.equal(manager.runningRequests, 0);
});

test('every update adds to the text and the last one has the finish', async () => {
  const { manager } = setUp();
  const { states, updates, done } = await start(manager, request('Once upon a time', { max_new_tokens: 4 }));
  await done;
  assert.equal(updates.length, 4);
  for (let i = 1; i < updates.length; i++) assert.ok(updates[i]!.startsWith(updates[i - 1]!));
  assert.equal(updates.at(-1), states[0]!.text);
});

test('n > 1 becomes n requests with consecutive seeds and ids of one family', async () => {
  const { scheduler, manager } = setUp();
  const { states, done } = await start(
    manager,
    request([5, 6], { n: 3, sampling_seed: 10, max_new_tokens: 2 }, { rid: 'r' }),
  );
  await done;
  assert.deepEqual(
    scheduler.generated.map((message) => message.sampling.seed),
    [10, 11, 12],
  );
  assert.deepEqual(
    states.map((state) => state.rid),
    ['r_0', 'r_1', 'r_2'],
  );
});

test('seeds that are not given differ', async () => {
  const { scheduler, manager } = setUp();
  for (let i = 0; i < 5; i++) await generate(manager, request([5], { max_new_tokens: 1 }));
  assert.equal(new Set(scheduler.generated.map((message) => message.sampling.seed)).size, 5);
});

test('a stop string across token borders ends the request and is cut off', async () => {
  const output = await idsOf('the cat sat on the mat and slept');
  const { scheduler, manager } = setUp({ token: (_, i) => output[i]! });
  const state = await generate(manager, request([5], { max_new_tokens: 50, stop: ['at on th', 'never'] }));
  assert.equal(state.text, ' the cat s');
  assert.deepEqual(state.finish, { type: 'stop', matched: 'at on th' });
  assert.ok(state.completionTokens < output.length);
  assert.deepEqual(state.tokenIds, output.slice(0, state.completionTokens));
  await until(() => scheduler.aborts.length === 1, 'the scheduler is told');
  assert.equal(scheduler.running.size, 0);
});

test('text that may be the beginning of a stop string is not streamed', async () => {
  const output = await idsOf('one two three four');
  const { manager } = setUp({ token: (_, i) => output[i]! });
  const { updates, done } = await start(
    manager,
    request([5], { max_new_tokens: output.length, stop: ' two three five' }),
  );
  await done;
  assert.ok(!updates.slice(0, -1).some((text) => text.endsWith(' two')), updates.join('|'));
  assert.equal(updates.at(-1), ' one two three four');
});

test('no_stop_trim keeps the token in which the stop string ends', async () => {
  const output = await idsOf('the cat sat');
  const { manager } = setUp({ token: (_, i) => output[i]! });
  const state = await generate(manager, request([5], { max_new_tokens: 50, stop: 'cat', no_stop_trim: true }));
  assert.equal(state.text, ' the cat');
  assert.deepEqual(state.finish, { type: 'stop', matched: 'cat' });
});

test('a stop string does not count before min_new_tokens', async () => {
  const output = await idsOf('cat cat cat cat cat cat cat cat');
  const { manager } = setUp({ token: (_, i) => output[i]! });
  const early = await generate(manager, request([5], { max_new_tokens: 10, stop: 'cat' }));
  assert.equal(early.text, ' ');
  const later = await generate(
    manager,
    request([5], { max_new_tokens: 10, stop: 'cat', min_new_tokens: early.completionTokens + 1 }),
  );
  assert.equal(later.text, ' cat ');
});

test('tokens after the stop string in the same chunk do not count', async () => {
  const output = await idsOf('red green blue black white');
  const { manager } = setUp({ token: (_, i) => output[i]!, chunkSize: 100 });
  const state = await generate(
    manager,
    request(
      [5],
      { max_new_tokens: output.length, stop: 'green' },
      { logprobs: { startLen: -1, topCount: 0, tokenIds: [] } },
    ),
  );
  assert.equal(state.text, ' red ');
  assert.ok(state.completionTokens < output.length);
  assert.equal(state.outputLogprobs!.ids.length, state.completionTokens);
});

test('the text of a stop token is cut off, its id is not', async () => {
  const [dog, cat] = [(await idsOf('dog')).at(-1)!, (await idsOf(' cat')).at(-1)!];
  const { manager } = setUp({ token: (_, i) => (i === 2 ? cat : dog) });
  const cut = await generate(manager, request([5], { stop_token_ids: [cat], max_new_tokens: 9 }));
  assert.deepEqual(cut.finish, { type: 'stop', matched: cat });
  assert.deepEqual(cut.tokenIds, [dog, dog, cat]);
  assert.equal(cut.text, tokenizer.tokenText(dog).repeat(2));
  const kept = await generate(manager, request([5], { stop_token_ids: [cat], max_new_tokens: 9, no_stop_trim: true }));
  assert.equal(kept.text, tokenizer.tokenText(dog).repeat(2) + tokenizer.tokenText(cat));
});

test('stream_interval thins the updates but never delays the first token or the end', async () => {
  const { manager } = setUp();
  const updates: number[] = [];
  const prepared = await manager.prepare(request([5, 6, 7], { max_new_tokens: 9, stream_interval: 4 }));
  await new Promise<void>((resolve) => {
    manager.start(prepared, (state) => {
      updates.push(state.completionTokens);
      if (state.finish !== null) resolve();
    });
  });
  assert.deepEqual(updates, [1, 5, 9]);
});

test('prompts that do not fit are refused with both numbers', async () => {
  const { manager } = setUp({ info: { contextLength: 16, maxTotalTokens: 100 } });
  const ids = (count: number) => Array.from({ length: count }, () => 5);
  await rejects(manager.prepare(request(ids(17))), 'REQUEST_TOO_LONG', 17, 16);
  await rejects(manager.prepare(request(ids(16))), 'REQUEST_TOO_LONG', 16);
  await rejects(manager.prepare(request(ids(10), { max_new_tokens: 7 })), 'REQUEST_TOO_LONG', 10, 7, 17, 16);
  await rejects(manager.prepare(request(ids(10), { max_new_tokens: 1e9 })), 'REQUEST_TOO_LONG', 10, 1e9, 16);
  const [fits] = await manager.prepare(request(ids(10), { max_new_tokens: 6 }));
  assert.equal(fits!.maxNewTokens, 6);
  const [byDefault] = await manager.prepare(request(ids(10)));
  assert.equal(byDefault!.maxNewTokens, 6, 'the default is cut');
  const [scored] = await manager.prepare(request(ids(16), { max_new_tokens: 0 }));
  assert.equal(scored!.maxNewTokens, 0, 'a full context can be scored');
});

test('a KV cache smaller than the context is the limit, and named', async () => {
  const { manager } = setUp({ info: { contextLength: 512, maxTotalTokens: 32 } });
  await rejects(manager.prepare(request([5, 6], { max_new_tokens: 31 })), 'REQUEST_TOO_LONG', 32, 'KV cache');
});

test('a text far beyond the context is refused by its beginning; one that just fills many characters is not', async () => {
  const { manager } = setUp();
  await rejects(manager.prepare(request('Once upon a time '.repeat(100_000))), 'REQUEST_TOO_LONG', 'at least', 512);
  await rejects(manager.prepare(request('Once upon a time '.repeat(200))), 'REQUEST_TOO_LONG', '(802 tokens)', 512);
});

test('null asks for as many tokens as fit', async () => {
  const { manager } = setUp({ info: { contextLength: 300 } });
  const [prepared] = await manager.prepare(request([5, 6], { max_new_tokens: null }));
  assert.equal(prepared!.maxNewTokens, 298);
});

test('empty prompts and ids outside the vocabulary are refused', async () => {
  const { manager } = setUp();
  await rejects(manager.prepare(request('')), 'INVALID_REQUEST', 'empty');
  await rejects(manager.prepare(request([])), 'INVALID_REQUEST', 'empty');
  await rejects(manager.prepare(request([5, 512])), 'INVALID_REQUEST', 512, 'input_ids[1]');
  await rejects(manager.prepare(request([-1])), 'INVALID_REQUEST', -1);
});

test('min_new_tokens above what the default leaves is refused', async () => {
  const { manager } = setUp({ info: { contextLength: 16 } });
  await rejects(manager.prepare(request([5], { min_new_tokens: 20 })), 'INVALID_REQUEST', 20, 15);
});

test('logprob_start_len beyond the prompt is refused', async () => {
  const { manager } = setUp();
  const logprobs = { startLen: 3, topCount: 0, tokenIds: [] };
  await rejects(manager.prepare(request([5, 6], {}, { logprobs })), 'INVALID_REQUEST', 2, 3);
});

test('without a tokenizer ids go in and come out, and what needs text is refused', async () => {
  const { manager } = setUp({ noTokenizer: true });
  const state = await generate(manager, request([5, 6], { max_new_tokens: 3 }));
  assert.deepEqual(state.tokenIds, [5, 6, 5]);
  assert.equal(state.text, '');
  await rejects(manager.prepare(request('text')), 'INVALID_REQUEST', '--skip-tokenizer-init');
  await rejects(manager.prepare(request([5], { stop: 'x' })), 'INVALID_REQUEST', '--skip-tokenizer-init');
});

test('an abort ends a request at once, with its text so far, and once', async () => {
  const { scheduler, manager } = setUp({ manual: true });
  const { states, updates, done } = await start(manager, request([5, 6], { max_new_tokens: 9 }, { rid: 'r' }));
  await until(() => scheduler.running.size === 1);
  scheduler.step();
  await until(() => updates.length === 1);
  assert.equal(manager.abortById('r', userAbort('enough')), 1);
  await done;
  assert.equal(states[0]!.finish!.type, 'abort');
  assert.equal(states[0]!.completionTokens, 1);
  assert.equal(manager.abortById('r', userAbort('again')), 0);
  await until(() => scheduler.aborts.length === 1);
  assert.equal(updates.length, 2);
  assert.equal(manager.runningRequests, 0);
});

test('an id may be used again at once after an abort; the old request cannot reach the new one', async () => {
  const { scheduler, manager } = setUp({ manual: true });
  await start(manager, request([5], { max_new_tokens: 9 }, { rid: 'r' }));
  await until(() => scheduler.running.size === 1);
  const [oldId] = scheduler.running.keys();
  manager.abortById('r', userAbort('enough'));
  const again = await start(manager, request([6], { max_new_tokens: 2 }, { rid: 'r' }));
  await until(() => scheduler.running.size === 1 && !scheduler.running.has(oldId!));
  scheduler.send({
    rid: oldId!,
    tokenIds: [99],
    finish: { type: 'length', length: 1 },
    cachedTokens: 0,
    retractions: 0,
  });
  scheduler.step();
  scheduler.step();
  await again.done;
  assert.deepEqual(again.states[0]!.tokenIds, [6, 6]);
});

test('an id that is in use is refused, and nothing of the batch is started', async () => {
  const { scheduler, manager } = setUp({ manual: true });
  await start(manager, request([5], {}, { rid: 'r' }));
  const others = await manager.prepare(request([6], {}, { rid: 's' }));
  const same = await manager.prepare(request([7], {}, { rid: 'r' }));
  assert.throws(() => manager.start([...others, ...same], () => {}), /already running/);
  assert.throws(() => manager.start([...others, ...others], () => {}), /already running/);
  assert.equal(manager.runningRequests, 1);
  await until(() => scheduler.generated.length === 1);
});

test('one family is aborted together, all with null', async () => {
  const { manager } = setUp({ manual: true });
  await start(manager, request([5], { n: 2 }, { rid: 'a' }));
  await start(manager, request([5], {}, { rid: 'b' }));
  await start(manager, request([5], {}, { rid: 'c' }));
  assert.equal(manager.abortById('a', userAbort('x')), 2);
  assert.equal(manager.abortById(null, userAbort('x')), 2);
  await manager.idle();
});

test('when the engine dies every request gets its error, and later ones are refused with it', async () => {
  const { scheduler, client, manager } = setUp({ manual: true });
  const runs = await Promise.all([1, 2, 3].map((id) => start(manager, request([id]))));
  await until(() => scheduler.running.size === 3);
  scheduler.die('step 7 failed');
  for (const { done, states } of runs) {
    await done;
    assert.deepEqual(states[0]!.finish, {
      type: 'abort',
      message: 'step 7 failed',
      statusCode: 500,
      errType: 'EngineError',
    });
  }
  assert.equal((await client.gone).code, 'ENGINE_FAILED');
  const prepared = await manager.prepare(request([5]));
  assert.throws(() => manager.start(prepared, () => {}), /step 7 failed/);
  await assert.rejects(client.state(), /step 7 failed/);
  await assert.rejects(client.flushCache(), /step 7 failed/);
});

test('when the scheduler vanishes without a word nothing hangs', async () => {
  const { scheduler, client, manager } = setUp({ manual: true });
  const { done, states } = await start(manager, request([5]));
  await until(() => scheduler.running.size === 1);
  const output = client.nextOutput();
  const state = client.state();
  scheduler.vanish();
  await done;
  assert.equal(states[0]!.finish!.type, 'abort');
  await output;
  await state.catch(() => {}); // answered or refused, but not left
  assert.equal(client.running, 0);
});

test('a scheduler that is gone before it is ready says why', async () => {
  const channel = createLocalChannel();
  const client = new SchedulerClient(channel.frontend);
  channel.scheduler.send({ kind: 'fatal', code: 'MODEL_INVALID', message: 'no weights' });
  channel.scheduler.close();
  await rejects(client.ready, 'MODEL_INVALID', 'no weights');
});

test('characters that are split over tokens come whole', async () => {
  const output = await idsOf('naïve 😀 日本');
  const { manager } = setUp({ token: (_, i) => output[i]! });
  const { updates, done, states } = await start(manager, request([5], { max_new_tokens: output.length }));
  await done;
  assert.equal(states[0]!.text, ' naïve 😀 日本');
  for (const text of updates) assert.ok(!text.includes('\ufffd') && text.isWellFormed(), text);
});

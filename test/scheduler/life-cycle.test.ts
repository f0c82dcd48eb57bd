// Messages, state, idleness, and the ends a scheduler can come to.
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import type { FrontendMessage } from '#vitrine/messages/channel.js';
import { createLocalChannel } from '#vitrine/messages/local-channel.js';
import type { FinishReason } from '#vitrine/messages/outputs.js';
import { startScheduler } from '#vitrine/scheduler/start-scheduler.js';
import { silentLog } from '#vitrine/util/log.js';
import { createFakeAddon } from '../support/fake-engine.js';
import { expectedResult } from '../support/fake-model.js';
import { fakePreparedModel } from '../support/fake-prepared-model.js';
import { generateMessage, SchedulerHarness } from '../support/scheduler-harness.js';
import { schedulerOptions } from '../support/scheduler-options.js';

const prompt = (length: number, first = 0) => Array.from({ length }, (_, i) => 3 + ((first * 7 + i) % 57));
const long = { maxNewTokens: 100, ignoreEos: true };
const turn = () => new Promise((resolve) => setImmediate(resolve));

const aborted = (finish: FinishReason) => finish as Extract<FinishReason, { type: 'abort' }>;

test('the chunks of a step are one message; first and final chunk carry the times', async () => {
  const harness = new SchedulerHarness();
  const messages = [0, 1, 2].map((i) => generateMessage(prompt(5, i), { maxNewTokens: 4, ignoreEos: true }));
  const results = await Promise.all(messages.map((message) => harness.generate(message)));
  const outputs = harness.messages.filter((message) => message.kind === 'outputs');
  assert.deepEqual(
    outputs.map(({ chunks }) => chunks.length),
    [3, 3, 3, 3],
  );
  for (const { chunks } of results) {
    assert.deepEqual(
      chunks.map(({ times }) => times !== undefined),
      [true, false, false, true],
    );
    const { queued, scheduled, firstToken } = chunks[3]!.times!;
    assert.ok(0 < queued && queued <= scheduled && scheduled <= firstToken);
    assert.deepEqual(chunks[0]!.times, chunks[3]!.times);
  }
  await harness.close();
});

test('state counts what happened; flush-cache is refused while a request runs or waits', async () => {
  const harness = new SchedulerHarness({ scheduler: { maxRunningRequests: 1, pageSize: 4 } });
  const running = [0, 1].map((i) =>
    harness.generate(generateMessage(prompt(9, i), { maxNewTokens: 10, ignoreEos: true })),
  );
  while ((await harness.state()).runningRequests === 0) await turn();
  const busy = await harness.state();
  assert.deepEqual([busy.runningRequests, busy.queuedRequests, busy.totalTokens], [1, 1, 4096]);
  assert.ok(busy.usedTokens >= 9);
  assert.equal(await harness.flushCache(), false);
  await Promise.all(running);
  const idle = await harness.state();
  assert.deepEqual(
    [idle.runningRequests, idle.queuedRequests, idle.usedTokens, idle.generatedTokensTotal, idle.promptTokensTotal],
    [0, 0, 0, 20, 18],
  );
  assert.equal(idle.forwardSteps, 20);
  assert.ok(idle.cachedTokens >= 32 && idle.lastGenThroughput > 0);
  assert.equal(await harness.flushCache(), true);
  await harness.close();
});

test('flush-cache works as soon as the last request has its final chunk, though a step may be in flight', async () => {
  const harness = new SchedulerHarness({ engine: { stepMs: () => 2 } });
  const tokens = expectedResult(generateMessage(prompt(4), long)).tokenIds;
  const stopIds = [tokens[2]!];
  await harness.generate(generateMessage(prompt(4), { ...long, stopTokenIds: stopIds }));
  assert.equal(await harness.flushCache(), true);
  const message = generateMessage(prompt(4), long);
  assert.deepEqual((await harness.generate(message)).tokenIds, tokens);
  await harness.close();
});

test('an idle scheduler has no timer and does nothing', async () => {
  const waiting = () =>
    process.getActiveResourcesInfo().filter((name) => ['Timeout', 'Immediate'].includes(name)).length;
  const before = waiting();
  const harness = new SchedulerHarness();
  await harness.generate(generateMessage(prompt(5)));
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(waiting(), before);
  await harness.close();
});

describe('shutdown', () => {
  test('everyone gets a final chunk with 503, the exit code is 0, the channel closes', async () => {
    const harness = new SchedulerHarness({ scheduler: { maxRunningRequests: 2 }, engine: { stepMs: () => 1 } });
    const running = [0, 1, 2, 3].map((i) => harness.generate(generateMessage(prompt(5, i), long)));
    while ((await harness.state()).generatedTokensTotal < 3) await turn();
    harness.channel.send({ kind: 'shutdown' });
    for (const result of await Promise.all(running)) {
      assert.equal(aborted(result.finish).statusCode, 503);
      assert.match(aborted(result.finish).message, /shutting down/);
    }
    assert.equal(await harness.scheduler.closed, 0);
    assert.equal(harness.channelClosed, true);
  });

  test('it is idempotent, and a front end that is gone is one too', async () => {
    const harness = new SchedulerHarness();
    void harness.generate(generateMessage(prompt(5), long));
    harness.scheduler.shutdown();
    harness.scheduler.shutdown();
    assert.equal(await harness.scheduler.closed, 0);
    const orphan = new SchedulerHarness();
    orphan.channel.send(generateMessage(prompt(5), long));
    orphan.channel.close();
    assert.equal(await orphan.scheduler.closed, 0);
    orphan.scheduler.checkIntegrity();
  });
});

describe('a broken engine', () => {
  test('a failed step: everyone gets a coded error, then comes the news, then exit code 1', async () => {
    const harness = new SchedulerHarness({ scheduler: { maxRunningRequests: 2 }, engine: { failAtStep: 3 } });
    const running = [0, 1, 2, 3].map((i) => harness.generate(generateMessage(prompt(5, i), long)));
    for (const result of await Promise.all(running)) {
      const finish = aborted(result.finish);
      assert.deepEqual([finish.type, finish.statusCode, finish.errType], ['abort', 500, 'EngineError']);
      assert.match(finish.message, /told to fail/);
    }
    assert.equal(await harness.scheduler.closed, 1);
    assert.deepEqual(
      harness.fatals.map(({ code }) => code),
      ['ENGINE_FAILED'],
    );
    assert.match(harness.fatals[0]!.message, /told to fail/);
    assert.equal(harness.messages.at(-1)!.kind, 'fatal');
    assert.equal(harness.channelClosed, true);
  });

  test('a step that never ends trips the watchdog', async () => {
    const harness = new SchedulerHarness({ scheduler: { watchdogTimeout: 0.05 }, engine: { hangAtStep: 2 } });
    const result = await harness.generate(generateMessage(prompt(5), long));
    assert.match(aborted(result.finish).message, /did not end within 0\.05 s \(--watchdog-timeout\)/);
    assert.equal(aborted(result.finish).statusCode, 500);
    assert.equal(await harness.scheduler.closed, 1);
    assert.equal(harness.fatals.length, 1);
  });

  test('steps that each end in time do not, however long they take together', async () => {
    const harness = new SchedulerHarness({ scheduler: { watchdogTimeout: 0.2 }, engine: { stepMs: () => 25 } });
    const result = await harness.generate(generateMessage(prompt(5), { maxNewTokens: 20, ignoreEos: true }));
    assert.equal(result.tokenIds.length, 20);
    await harness.close();
  });
});

test('startScheduler says what was loaded, then serves', async () => {
  const { frontend, scheduler } = createLocalChannel();
  const messages: FrontendMessage[] = [];
  frontend.onMessage((message) => messages.push(message));
  const handle = startScheduler({
    addon: createFakeAddon(),
    model: fakePreparedModel(128),
    options: schedulerOptions({ maxTotalTokens: 1000, maxRunningRequests: 5 }),
    channel: scheduler,
    log: silentLog,
  });
  frontend.send(generateMessage(prompt(5), { maxNewTokens: 1 }));
  while (messages.length < 2) await turn();
  const [ready] = messages;
  assert.equal(ready!.kind, 'ready');
  const { info } = ready as Extract<FrontendMessage, { kind: 'ready' }>;
  assert.deepEqual(
    [info.maxTotalTokens, info.maxRunningRequests, info.contextLength, info.vocabSize, info.dtype, info.device],
    [992, 5, 128, 61, 'float32', 'cpu'],
  );
  assert.ok(info.loadSeconds >= 0 && info.weightBytes > 0 && info.kvCacheBytes === 992 * 64);
  handle.shutdown();
  assert.equal(await handle.closed, 0);
});

test('log lines: prefill batches at debug, decode batches every --decode-log-interval steps', async () => {
  const lines: { level: number; msg: string }[] = [];
  const stream = new Writable({
    write: (chunk, _, done) => {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const harness = new SchedulerHarness({
    scheduler: { decodeLogInterval: 10, chunkedPrefillSize: 4 },
    log: pino({ level: 'debug' }, stream),
  });
  await harness.generate(generateMessage(prompt(8), { maxNewTokens: 41, ignoreEos: true }));
  const matching = (pattern: RegExp) => lines.filter(({ msg }) => pattern.test(msg));
  const decodes = matching(
    /^Decode batch, #running-req: \d+, #token: \d+, token usage: \d\.\d\d, gen throughput \(token\/s\): \d+\.\d\d, #queue-req: 0$/,
  );
  assert.equal(decodes.length, 4);
  assert.equal(decodes[0]!.level, 30);
  const prefills = matching(/^Prefill batch, #new-seq: \d+, #new-token: 4, #cached-token: 0, token usage: /);
  assert.equal(prefills.length, 2);
  assert.equal(prefills[0]!.level, 20);
  await harness.close();
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Request } from '#vitrine/engine/request.js';
import { BlockTable } from '#vitrine/kv-cache/block-table.js';
import type { LogprobOptions, SamplingParams } from '#vitrine/messages/requests.js';
import { generateMessage } from '../support/scheduler-harness.js';

const EOS = 2;
const DEFAULTS = { eosTokenIds: [EOS], vocabSize: 100, maxSequence: 1000 };

function create(sampling: Partial<SamplingParams>, logprobs: LogprobOptions | null = null, length = 5): Request {
  const prompt = Array.from({ length }, (_, i) => 10 + i);
  return new Request(generateMessage(prompt, sampling, logprobs), DEFAULTS, 0);
}

/** Samples tokens as steps would. */
function run(request: Request, tokens: readonly number[]): void {
  if (request.slot < 0) request.start(0, new BlockTable(), 0);
  for (const token of tokens) {
    request.advance(request.seqLen, true);
    request.append(token);
  }
}

test('a request ends at its length', () => {
  const request = create({ maxNewTokens: 3 });
  run(request, [5, 6]);
  assert.equal(request.finish, null);
  run(request, [7]);
  assert.deepEqual(request.finish, { type: 'length', length: 3 });
});

test('the cache’s capacity cuts the length', () => {
  const message = generateMessage([1, 2, 3], { maxNewTokens: 50 });
  const request = new Request(message, { ...DEFAULTS, maxSequence: 6 }, 0);
  assert.equal(request.maxLen, 6);
  run(request, [5, 6, 7]);
  assert.deepEqual(request.finish, { type: 'length', length: 3 });
});

test('eos and stop tokens end it; ignoreEos leaves the stop tokens', () => {
  const byEos = create({});
  run(byEos, [5, EOS]);
  assert.deepEqual(byEos.finish, { type: 'stop', matched: EOS });
  const byStop = create({ ignoreEos: true, stopTokenIds: [50] });
  run(byStop, [EOS, 50]);
  assert.deepEqual(byStop.finish, { type: 'stop', matched: 50 });
});

test('a stop token that is also the last token is a stop', () => {
  const request = create({ maxNewTokens: 2 });
  run(request, [5, EOS]);
  assert.deepEqual(request.finish, { type: 'stop', matched: EOS });
});

test('stop tokens are suppressed by position until minNewTokens are there, whatever the host knows', () => {
  const request = create({
    minNewTokens: 2,
    stopTokenIds: [50, 1000],
    logitBias: [
      [50, 3],
      [4, 1],
    ],
  });
  request.start(0, new BlockTable(), 0);
  const suppressed = () =>
    Array.from(request.bias.ids).filter((_, i) => request.bias.values[i] === Number.NEGATIVE_INFINITY);
  for (const expected of [[EOS, 50], [EOS, 50], []]) {
    assert.deepEqual(suppressed(), expected);
    request.advance(request.seqLen, true); // two steps in flight: nothing has been appended
  }
  assert.deepEqual(
    [Array.from(request.bias.ids), Array.from(request.bias.values)],
    [
      [50, 4],
      [3, 1],
    ],
  );
});

test('lengths out of order are an error', () => {
  const request = create({ maxNewTokens: 1 });
  request.start(0, new BlockTable(), 0);
  assert.throws(() => request.advance(6, false), /6 computed <= 5/);
  assert.throws(() => create({}).start(0, new BlockTable(), 9), /9 cached/);
});

test('prefill and decode are told apart by what is left', () => {
  const request = create({ maxNewTokens: 2 });
  request.start(0, new BlockTable(), 0);
  assert.deepEqual([request.prefillLeft, request.isDecoding], [5, false]);
  request.advance(3, false);
  assert.deepEqual([request.prefillLeft, request.isDecoding], [2, false]);
  request.advance(5, true);
  assert.deepEqual([request.prefillLeft, request.isDecoding, request.isComplete], [0, true, false]);
  request.advance(6, true);
  assert.equal(request.isComplete, true);
});

test('nothing to generate: complete when the prompt is computed', () => {
  const request = create({ maxNewTokens: 0 });
  request.start(0, new BlockTable(), 0);
  assert.equal(request.isComplete, false);
  request.advance(5, false);
  assert.deepEqual([request.isComplete, request.isDecoding], [true, false]);
});

test('a retraction keeps what was generated and forgets what was only on its way', () => {
  const request = create({ maxNewTokens: 9 });
  run(request, [20, 21]);
  request.advance(request.seqLen, true);
  const { epoch } = request;
  request.retract();
  assert.notEqual(request.epoch, epoch);
  assert.deepEqual([request.seqLen, request.computedLen, request.slot, request.retractions], [7, 0, -1, 1]);
  assert.deepEqual([...request.tokens.view(5)], [20, 21]);
  request.start(1, new BlockTable(), 0);
  assert.equal(request.freshSlot, true);
  assert.equal(request.prefillLeft, 7);
});

test('a cached prefix must leave the last token, and the token before the first scored one', () => {
  const limit = (startLen: number) => create({}, { startLen, topCount: 0, tokenIds: [] }).matchLimit;
  assert.equal(create({}).matchLimit, 4);
  assert.deepEqual([-1, 0, 1, 2, 4, 5].map(limit), [4, 0, 0, 1, 3, 4]);
  const scored = create({ maxNewTokens: 9 }, { startLen: 0, topCount: 0, tokenIds: [] });
  scored.scoredLen = 3;
  assert.equal(scored.matchLimit, 2, 'positions that are scored already need not be computed again');
  scored.scoredLen = 5;
  run(scored, [20, 21]);
  assert.equal(scored.matchLimit, 6);
});

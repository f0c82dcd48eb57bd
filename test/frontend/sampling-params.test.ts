import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSamplingParams, seedOf } from '#vitrine/frontend/sampling-params.js';
import { SeedSource } from '#vitrine/frontend/seed-source.js';
import { VitrineError } from '#vitrine/util/errors.js';

const parse = (raw: Record<string, unknown>) => parseSamplingParams(raw, { vocabSize: 100 });

test('without parameters everything has its default', () => {
  assert.deepEqual(parse({}), {
    params: {
      minNewTokens: 0,
      temperature: 1,
      topK: -1,
      topP: 1,
      minP: 0,
      frequencyPenalty: 0,
      presencePenalty: 0,
      repetitionPenalty: 1,
      logitBias: [],
      stopTokenIds: [],
      ignoreEos: false,
    },
    maxNewTokens: undefined,
    seed: undefined,
    n: 1,
    stop: [],
    noStopTrim: false,
    skipSpecialTokens: true,
    spacesBetweenSpecialTokens: true,
    streamInterval: undefined,
  });
});

test('null is the default, but for max_new_tokens it means as many as fit', () => {
  const { maxNewTokens, ...rest } = parse({ max_new_tokens: null, top_p: null, stop: null, n: null, regex: null });
  assert.equal(maxNewTokens, Number.POSITIVE_INFINITY);
  assert.deepEqual({ ...rest, maxNewTokens: undefined }, parse({}));
});

test('a temperature below 1e-6 is greedy, one of 1e-6 is not', () => {
  assert.equal(parse({ temperature: 9e-7 }).params.temperature, 0);
  assert.equal(parse({ temperature: 1e-6 }).params.temperature, 1e-6);
});

test('stop is a string or a list, logit_bias an object of ids, seeds fold into 53 bits', () => {
  assert.deepEqual(parse({ stop: 'x' }).stop, ['x']);
  assert.deepEqual(parse({ stop: ['x', 'y', 'x'] }).stop, ['x', 'y']);
  assert.deepEqual(parse({ logit_bias: { '5': -100, '7': 0.5 } }).params.logitBias, [
    [5, -100],
    [7, 0.5],
  ]);
  assert.equal(parse({ sampling_seed: 42 }).seed, 42);
  assert.equal(parse({ sampling_seed: -1 }).seed, Number.MAX_SAFE_INTEGER);
  assert.equal(seedOf(42, 1), 43);
  assert.equal(seedOf(Number.MAX_SAFE_INTEGER, 0), Number.MAX_SAFE_INTEGER);
  assert.equal(seedOf(Number.MAX_SAFE_INTEGER, 3), 2);
});

test('the ends of every range are legal', () => {
  for (const raw of [
    { top_p: 1 },
    { min_p: 0 },
    { min_p: 1 },
    { frequency_penalty: -2 },
    { presence_penalty: 2 },
    { repetition_penalty: 2 },
    { repetition_penalty: 0 },
    { top_k: 1 },
    { top_k: -1 },
    { max_new_tokens: 0 },
    { min_new_tokens: 5, max_new_tokens: 5 },
    { stop_token_ids: [0, 99] },
  ]) {
    assert.ok(parse(raw), JSON.stringify(raw));
  }
  assert.ok(parse({ repetition_penalty: 0 }).params.repetitionPenalty > 0, 'logits must stay finite');
});

const BAD: readonly [Record<string, unknown>, string][] = [
  [{ temperature: -0.1 }, 'temperature'],
  [{ temperature: 'hot' }, 'temperature'],
  [{ temperature: Number.POSITIVE_INFINITY }, 'temperature'],
  [{ top_p: 0 }, 'top_p'],
  [{ top_p: 1.01 }, 'top_p'],
  [{ min_p: -0.1 }, 'min_p'],
  [{ min_p: 1.1 }, 'min_p'],
  [{ top_k: 0 }, 'top_k'],
  [{ top_k: -2 }, 'top_k'],
  [{ top_k: 1.5 }, 'top_k'],
  [{ frequency_penalty: 2.1 }, 'frequency_penalty'],
  [{ presence_penalty: -2.1 }, 'presence_penalty'],
  [{ repetition_penalty: 2.1 }, 'repetition_penalty'],
  [{ repetition_penalty: -1 }, 'repetition_penalty'],
  [{ max_new_tokens: -1 }, 'max_new_tokens'],
  [{ max_new_tokens: 1.5 }, 'max_new_tokens'],
  [{ max_new_tokens: '5' }, 'max_new_tokens'],
  [{ min_new_tokens: 6, max_new_tokens: 5 }, 'min_new_tokens'],
  [{ min_new_tokens: -1 }, 'min_new_tokens'],
  [{ stop: 5 }, 'stop'],
  [{ stop: ['a', 5] }, 'stop[1]'],
  [{ stop: [''] }, 'stop'],
  [{ stop_token_ids: [1, 100] }, 'stop_token_ids[1]'],
  [{ stop_token_ids: [-1] }, 'stop_token_ids[0]'],
  [{ stop_token_ids: 7 }, 'stop_token_ids'],
  [{ logit_bias: { '100': 1 } }, 'logit_bias'],
  [{ logit_bias: { x: 1 } }, 'logit_bias'],
  [{ logit_bias: { '1': 'a' } }, 'logit_bias.1'],
  [{ logit_bias: [1] }, 'logit_bias'],
  [{ n: 0 }, 'n'],
  [{ n: 1e9 }, 'n'],
  [{ ignore_eos: 1 }, 'ignore_eos'],
  [{ skip_special_tokens: 'yes' }, 'skip_special_tokens'],
  [{ stream_interval: 0 }, 'stream_interval'],
  [{ sampling_seed: 1.5 }, 'sampling_seed'],
  [{ json_schema: '{}' }, 'json_schema'],
  [{ regex: 'a+' }, 'regex'],
  [{ ebnf: 'root ::= "a"' }, 'ebnf'],
  [{ structural_tag: '{}' }, 'structural_tag'],
  [{ stop_regex: 'a' }, 'stop_regex'],
  [{ custom_params: { a: 1 } }, 'custom_params'],
  [{ max_tokens: 5 }, 'max_tokens'],
];

test('every wrong value is refused by its name', async (t) => {
  for (const [raw, field] of BAD) {
    await t.test(JSON.stringify(raw), () => {
      assert.throws(
        () => parse(raw),
        (error: unknown) =>
          error instanceof VitrineError &&
          error.code === 'INVALID_REQUEST' &&
          error.param === `sampling_params.${field}` &&
          error.message.startsWith(`sampling_params.${field} `),
      );
    });
  }
});

test('seeds of requests that bring none repeat with the start value and differ among themselves', () => {
  const take = (seed: number) => {
    const source = new SeedSource(seed);
    return Array.from({ length: 100 }, () => source.next());
  };
  assert.deepEqual(take(3), take(3));
  assert.notDeepEqual(take(3), take(4));
  assert.equal(new Set(take(3)).size, 100);
  assert.ok(take(3).every((seed) => Number.isSafeInteger(seed) && seed >= 0));
});

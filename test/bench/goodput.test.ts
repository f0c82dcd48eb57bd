// --goodput: its text, and the requests that keep it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { computeGoodput, parseObjectives } from '#vitrine/bench/serving/metrics/goodput.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { record, runOf } from '../support/bench-records.js';

describe('objectives', () => {
  test('are milliseconds; vLLM’s name for E2E latency is known', () => {
    assert.deepEqual(parseObjectives(['ttft:200', 'tpot:50.5', 'itl:.5', 'e2e:3000']), {
      ttft: 0.2,
      tpot: 0.0505,
      itl: 0.0005,
      e2e: 3,
    });
    assert.deepEqual(parseObjectives(['e2el:3000']), { e2e: 3 });
  });

  const cases: [string[], RegExp][] = [
    [['ttft'], /^--goodput: expected name:milliseconds, as in ttft:200, got 'ttft'$/],
    [['ttft:1:2'], /expected name:milliseconds/],
    [['latency:5'], /expected one of ttft, tpot, itl, e2e, e2el, e2e_latency before the colon, got 'latency:5'/],
    [['constructor:5'], /expected one of ttft/],
    [['ttft:fast'], /expected a number of milliseconds above 0 after the colon, got 'ttft:fast'/],
    [['ttft:'], /expected a number of milliseconds/],
    [['ttft:0'], /expected a number of milliseconds above 0/],
    [['ttft:-5'], /expected a number of milliseconds above 0/],
    [['ttft:inf'], /expected a number of milliseconds/],
    [['e2e:5', 'e2el:6'], /expected one objective for e2e, got 'e2el:6'/],
  ];
  for (const [texts, pattern] of cases) {
    test(`${texts.join(' ')} is refused`, () => {
      assert.throws(
        () => parseObjectives(texts),
        (error) => error instanceof VitrineError && error.code === 'INVALID_OPTION' && pattern.test(error.message),
      );
    });
  }
});

describe('requests', () => {
  // TTFT 0.5, TPOT 0.5, gaps of 0.5, E2E 2.
  const records = [
    record({}),
    record({ index: 1, ttft: 0.75, gaps: [0.25, 0.25, 0.75] }), // TPOT 1.25 / 3
    record({ index: 2, error: 'HTTP 500', ttft: undefined, gaps: [] }),
    record({ index: 3, interrupted: true, error: 'aborted' }),
    record({ index: 4, ttft: 0.5, endedAt: 100.5, gaps: [], completionTokens: 1 }),
  ];
  const run = runOf(records, { duration: 4 });

  test('are good when they meet every objective, the limit included; failures are not', () => {
    const goodput = computeGoodput(run, { ttft: 0.5, tpot: 0.5, e2e: 2 }, run.duration);
    assert.deepEqual(goodput.good, [true, false, false, false, true]);
    assert.equal(goodput.goodRequests, 2);
    assert.equal(goodput.rate, 0.5);
    assert.equal(goodput.share, 2 / 4, 'of those that ended by themselves');
    assert.deepEqual(goodput.attainment, { ttft: 2 / 4, tpot: 3 / 4, e2e: 3 / 4 });
  });

  test('itl holds for the longest gap', () => {
    assert.deepEqual(computeGoodput(run, { itl: 0.5 }, 4).good, [true, false, false, false, true]);
  });

  test('an answer without a token misses its TTFT and no TPOT', () => {
    const empty = runOf([record({ ttft: undefined, firstToken: undefined, gaps: [], completionTokens: 0 })]);
    assert.deepEqual(computeGoodput(empty, { ttft: 9, tpot: 9 }, 1).attainment, { ttft: 0, tpot: 1 });
  });

  test('no requests: zeroes', () => {
    const { rate, share, attainment } = computeGoodput(runOf([]), { ttft: 1 }, 0);
    assert.deepEqual([rate, share, attainment], [0, 0, { ttft: 0 }]);
  });
});

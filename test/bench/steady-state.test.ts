// The window between ramp-up and drain, by hand and by brute force.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import { isGrowing, type SteadyState, steadyState } from '#vitrine/bench/serving/metrics/steady-state.js';
import { closedLoad, record, runOf } from '../support/bench-records.js';
import { createRandom } from '../support/random.js';

/** Two tokens: one halfway, one at the end. */
const twoTokens = (
  index: number,
  sentAt: number,
  endedAt: number,
  given: Partial<RequestRecord> = {},
): RequestRecord => {
  const half = (endedAt - sentAt) / 2;
  return record({ index, arrivedAt: 0, sentAt, endedAt, ttft: half, gaps: [half], completionTokens: 2, ...given });
};

function found(records: readonly RequestRecord[]): SteadyState {
  const state = steadyState(runOf(records), undefined);
  assert.ok(state.window !== undefined, state.window === undefined ? state.reason : '');
  return state;
}

function reasonOf(records: readonly RequestRecord[]): string {
  const state = steadyState(runOf(records), undefined);
  assert.ok(state.window === undefined);
  return state.reason;
}

/** Two places: the first of 8 requests is shorter, so that the places alternate. */
const EIGHT = [
  twoTokens(0, 0, 1),
  twoTokens(1, 0, 2),
  twoTokens(2, 1, 3),
  twoTokens(3, 2, 4),
  twoTokens(4, 3, 5),
  twoTokens(5, 4, 6),
  twoTokens(6, 5, 7),
  twoTokens(7, 6, 7),
];

describe('eight requests through two places', () => {
  const state = found(EIGHT);

  test('it begins when two have ended, and ends when the last is sent', () => {
    assert.deepEqual(state.window, { start: 2, end: 6 });
    assert.equal(state.requests, 4, 'those sent at 3, 4, 5 and 6');
    assert.equal(state.completed, 4, 'those that ended at 3, 4, 5 and 6');
  });

  test('throughputs are of what came in its four seconds', () => {
    assert.equal(state.requestThroughput, 1);
    // Tokens at 3, 3, 4, 4, 5, 5, 6, 6; that at 2 came before.
    assert.equal(state.outputTokens, 8);
    assert.equal(state.outputThroughput, 2);
    assert.equal(state.inputThroughput, 10);
    assert.equal(state.totalThroughput, 12);
    assert.equal(state.concurrency, 2);
    assert.deepEqual(state.concurrencyOfHalves, [2, 2]);
    assert.equal(isGrowing(state), false);
  });

  test('latencies are of the requests sent in it, gaps those that ended in it', () => {
    assert.deepEqual(state.ttft.values, [1, 1, 1, 0.5]);
    assert.deepEqual(state.tpot.values, [1, 1, 1, 0.5]);
    assert.deepEqual(state.e2e.values, [2, 2, 2, 1]);
    assert.deepEqual([...state.itl.values], [1, 1, 1, 1]);
  });

  test('goodput counts the requests that ended in it, per second of it', () => {
    const goodput = (e2e: number) => (steadyState(runOf(EIGHT), { e2e }) as SteadyState).goodput!;
    assert.deepEqual([goodput(2).rate, goodput(2).share], [1, 1]);
    assert.equal(goodput(1.5).rate, 0, 'the short ones ended before and after');
  });

  test('tokens that chunks carry together, and shared gaps', () => {
    // 6 tokens in 2 chunks each: a chunk stands for three.
    const records = EIGHT.map((one) => ({ ...one, completionTokens: 6 }));
    const state = steadyState(
      runOf(records, { acceptLength: 3, gapTokens: EIGHT.map(() => [2]) }),
      undefined,
    ) as SteadyState;
    assert.equal(state.outputTokens, 24);
    assert.deepEqual([...state.itl.values], Array(8).fill(0.5));
  });

  test('a failed request takes its place and counts in nothing else', () => {
    const failure = { error: 'HTTP 500', ttft: undefined, gaps: [], completionTokens: undefined };
    const state = found(EIGHT.map((one, i) => (i === 4 ? twoTokens(4, 3, 5, failure) : one)));
    assert.deepEqual(state.window, { start: 2, end: 6 });
    assert.deepEqual([state.requests, state.completed, state.outputTokens], [4, 3, 6]);
    assert.equal(state.concurrency, 2);
    assert.deepEqual(state.e2e.values, [2, 2, 1]);
  });
});

test('turns of a conversation hold its place: later turns are no new load', () => {
  // Each conversation has two turns of half the time.
  const turns = EIGHT.flatMap((one) => {
    const middle = (one.sentAt + one.endedAt) / 2;
    return [twoTokens(one.index, one.sentAt, middle), twoTokens(one.index, middle, one.endedAt, { turn: 1 })];
  });
  const state = found(turns);
  assert.deepEqual(state.window, { start: 2, end: 6 });
  // First turns at 3, 4, 5 and 6, second ones at 3 (of 2), 4, 5 and 6; that of 7 comes in the drain, at 6.5.
  assert.equal(state.requests, 8);
});

describe('no steady state', () => {
  test('all requests at once', () => {
    assert.equal(reasonOf([twoTokens(0, 0, 1), twoTokens(1, 0, 2)]), 'all 2 requests were in flight at once');
    assert.equal(reasonOf([twoTokens(0, 0, 1)]), 'all 1 requests were in flight at once');
    assert.equal(reasonOf([]), 'no request was sent');
  });

  test('too few requests for the places', () => {
    assert.match(
      reasonOf(EIGHT.slice(0, 5)),
      /^1 requests were sent after 2 had ended, and 2 ran at once: at least as many/,
    );
  });
});

test('a server that falls behind is not called steady', () => {
  // Four arrive a second; each takes longer than the one before.
  const records = Array.from({ length: 200 }, (_, i) => twoTokens(i, i / 4, i / 4 + 1 + i / 40));
  assert.equal(isGrowing(found(records)), true);
});

test('is what brute force finds', () => {
  let windows = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const places = 1 + (seed % 5);
    const records = closedLoad(createRandom(seed), 10 + (seed % 40), places);
    const inFlight = (time: number) => records.filter((one) => one.sentAt <= time && time < one.endedAt).length;
    const peak = Math.max(...records.map(({ sentAt }) => inFlight(sentAt)));
    const ends = records.map(({ endedAt }) => endedAt);
    const start = Math.min(...ends.filter((time) => ends.filter((other) => other <= time).length >= peak));
    const sends = records.map(({ sentAt }) => sentAt).filter((time) => time > start);
    const state = steadyState(runOf(records), undefined);
    if (sends.length < peak) {
      assert.equal(state.window, undefined, `seed ${seed}`);
      continue;
    }
    assert.ok(state.window !== undefined, `seed ${seed}`);
    windows += 1;
    const end = Math.max(...sends);
    assert.deepEqual(state.window, { start, end }, `seed ${seed}`);
    const isInside = (time: number) => time > start && time <= end;
    let tokens = 0;
    for (const { sentAt, ttft, gaps } of records) {
      if (ttft === undefined) continue;
      let time = sentAt + ttft;
      if (isInside(time)) tokens += 1;
      for (const gap of gaps) {
        time += gap;
        if (isInside(time)) tokens += 1;
      }
    }
    assert.equal(state.outputTokens, tokens, `seed ${seed}`);
    assert.equal(state.requests, sends.length);
    // All times are eighths of a second.
    let inEighths = 0;
    for (let time = start; time < end; time += 1 / 8) inEighths += inFlight(time) / 8;
    assert.ok(Math.abs(state.concurrency - inEighths / (end - start)) < 1e-9, `seed ${seed}`);
  }
  assert.ok(windows > 20 && windows < 60, `${windows} windows: both outcomes are tried`);
});

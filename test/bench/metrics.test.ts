// Both definitions of every figure, fed with recorded requests whose values were worked out by hand.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import { computeMetrics } from '#vitrine/bench/serving/metrics/metrics.js';
import { bucketPeaks, peakConcurrency, peakThroughput } from '#vitrine/bench/serving/metrics/peaks.js';
import { Sample } from '#vitrine/bench/statistics/statistics.js';
import { closedLoad, record, runOf } from '../support/bench-records.js';
import { createRandom } from '../support/random.js';

const close = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}`);

describe('a run of three requests, one of them failed', () => {
  const records = [
    // 4 tokens at 100.5, 101, 101.5, 102.
    record({}),
    // Waited 0.25 s in the client; 3 tokens at 101, 101.25, 102.25, last byte at 102.5; the server gave no count.
    record({
      index: 1,
      promptLen: 20,
      requestedLen: 9,
      arrivedAt: 100.25,
      sentAt: 100.5,
      endedAt: 102.5,
      ttft: 0.5,
      firstToken: 0.25,
      gaps: [0.25, 1],
      completionTokens: undefined,
      promptTokens: undefined,
    }),
    record({ index: 2, error: 'HTTP 500', endedAt: 100.125, ttft: undefined, gaps: [], completionTokens: undefined }),
  ];
  const metrics = computeMetrics({
    records,
    duration: 2.5,
    retokenized: [5, 3, 0],
    acceptLength: undefined,
    gapTokens: undefined,
  });

  test('counts and lengths are of successes only; the server’s count wins over that of the text', () => {
    assert.deepEqual([metrics.completed, metrics.failed, metrics.interrupted], [2, 1, 0]);
    assert.equal(metrics.totalInput, 30);
    assert.equal(metrics.totalOutput, 4 + 3);
    assert.equal(metrics.totalOutputRetokenized, 8);
    assert.equal(metrics.serverInput, 11);
    assert.deepEqual(metrics.lengthSources, { server: 1, retokenized: 1 });
  });

  test('throughputs are per second of the run', () => {
    close(metrics.requestThroughput, 0.8);
    close(metrics.inputThroughput, 12);
    close(metrics.outputThroughput, 2.8);
    close(metrics.totalThroughput, 14.8);
    close(metrics.concurrency, (2 + 2) / 2.5);
  });

  test('latencies count from the send', () => {
    assert.deepEqual(metrics.e2e.values, [2, 2]);
    assert.deepEqual(metrics.ttft.values, [0.5, 0.5]);
    assert.deepEqual(metrics.firstToken.values, [0.5, 0.25]);
    // (2 - 0.5) / 3 and (2 - 0.5) / 2.
    assert.deepEqual(metrics.tpot.values, [0.5, 0.75]);
    assert.deepEqual([...metrics.itl.values], [0.5, 0.5, 0.5, 0.25, 1]);
    assert.deepEqual(metrics.queue.values, [0, 0.25]);
    // Begun at 100, 100 and 100.5.
    assert.equal(metrics.achievedRate, 4);
  });

  test('SGLang’s buckets and the exact peaks', () => {
    // Buckets from second 100: [100.5], [101, 101.5, 101, 101.25], [102, 102.25].
    assert.equal(metrics.maxOutputTokensPerSecond, 4);
    assert.equal(metrics.maxConcurrentRequests, 2);
    // Within one second: 101, 101, 101.25, 101.5; or with 100.5: 100.5 … 101.25 and not 101.5.
    assert.equal(metrics.peakOutputThroughput, 4);
    // All three at 100.5? The failed one had ended: two.
    assert.equal(metrics.peakConcurrency, 2);
  });
});

test('one token has no TPOT; a request without any token has no TTFT', () => {
  const metrics = computeMetrics({
    records: [
      record({ completionTokens: 1, gaps: [] }),
      record({ completionTokens: 0, ttft: undefined, firstToken: undefined, gaps: [], text: '' }),
    ],
    duration: 2,
    retokenized: [1, 0],
    acceptLength: undefined,
    gapTokens: undefined,
  });
  assert.deepEqual(metrics.tpot.values, []);
  assert.deepEqual(metrics.ttft.values, [0.5]);
  assert.equal(metrics.totalOutput, 1);
});

test('an interrupted request is neither success nor failure', () => {
  const records = [record({}), record({ interrupted: true, error: 'aborted' })];
  const metrics = computeMetrics({
    records,
    duration: 2,
    retokenized: [4, 1],
    acceptLength: undefined,
    gapTokens: undefined,
  });
  assert.deepEqual([metrics.completed, metrics.failed, metrics.interrupted], [1, 0, 1]);
});

test('no requests at all: zeroes and no NaN', () => {
  const metrics = computeMetrics({
    records: [],
    duration: 0,
    retokenized: [],
    acceptLength: undefined,
    gapTokens: undefined,
  });
  for (const value of Object.values(metrics)) {
    if (typeof value === 'number') assert.equal(value, 0);
    if (value instanceof Sample) {
      for (const figure of [value.mean, value.median, value.max, value.standardDeviation]) assert.equal(figure, 0);
    }
  }
});

test('gaps are shared among the tokens of their chunk where these were counted', () => {
  const metrics = computeMetrics({
    records: [record({ gaps: [0.5, 0.75], gapTexts: ['a', 'b c d'] })],
    duration: 2,
    retokenized: [4],
    acceptLength: 2,
    gapTokens: [[1, 3]],
  });
  assert.deepEqual([...metrics.itl.values], [0.5, 0.25, 0.25, 0.25]);
});

describe('peaks', () => {
  const short = (sentAt: number, endedAt: number): RequestRecord =>
    record({ sentAt, endedAt, ttft: endedAt - sentAt, gaps: [] });

  test('requests one after the other are one at a time, whatever the buckets say', () => {
    const records = [short(0, 0.25), short(0.25, 0.5), short(0.5, 0.75)];
    assert.equal(peakConcurrency(records), 1);
    assert.equal(bucketPeaks(records).maxConcurrentRequests, 3);
  });

  test('a second may begin anywhere', () => {
    const records = [short(0, 0.75), short(0, 1.25), short(0, 1.5), short(0, 2)];
    assert.equal(peakThroughput(records, [1, 1, 1, 1]), 3);
    assert.equal(bucketPeaks(records).maxOutputTokensPerSecond, 2);
  });

  test('are those of brute force, and never above the places that requests had', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const places = 1 + (seed % 7);
      const records = closedLoad(createRandom(seed), 30, places);
      const inFlight = (time: number) => records.filter((one) => one.sentAt <= time && time < one.endedAt).length;
      const peak = peakConcurrency(records);
      assert.equal(peak, Math.max(...records.map(({ sentAt }) => inFlight(sentAt))), `seed ${seed}`);
      assert.ok(peak <= places, `seed ${seed}: ${peak} of ${places} places`);
      const times = records.flatMap((one) => {
        if (one.ttft === undefined) return [];
        const first = one.sentAt + one.ttft;
        return [first, ...one.gaps.map((_, i) => one.gaps.slice(0, i + 1).reduce((sum, gap) => sum + gap, first))];
      });
      const inSecond = (from: number) => times.filter((time) => time >= from && time < from + 1).length;
      const lengths = records.map(({ completionTokens = 0 }) => completionTokens);
      assert.equal(peakThroughput(records, lengths), Math.max(0, ...times.map(inSecond)), `seed ${seed}`);
      const { peakConcurrency: reported, concurrency } = computeMetrics(runOf(records));
      assert.equal(reported, peak);
      assert.ok(concurrency <= peak);
    }
  });

  test('two tokens a whole second apart are not in one second', () => {
    assert.equal(peakThroughput([short(0, 1), short(0, 2)], [1, 1]), 1);
  });
});

test('the tokens of a chunk come together, and all of them count', () => {
  // Three chunks at 100.5, 101.25 and 102: 3, 2 and 2 of 7 tokens.
  const records = [record({ gaps: [0.75, 0.75], completionTokens: 7 })];
  assert.equal(peakThroughput(records, [7]), 5);
  // Fewer tokens than chunks, as where texts are counted again: not more than there are.
  assert.equal(peakThroughput(records, [1]), 1);
  assert.equal(peakThroughput(records, [0]), 0);
});

describe('statistics', () => {
  test('are numpy’s', () => {
    const sample = new Sample([4, 1, 3, 2]);
    close(sample.mean, 2.5);
    close(sample.median, 2.5);
    close(sample.percentile(90), 3.7);
    close(sample.percentile(0), 1);
    close(sample.percentile(100), 4);
    close(sample.standardDeviation, Math.sqrt(1.25));
    assert.equal(sample.max, 4);
    assert.deepEqual(sample.values, [4, 1, 3, 2]);
    close(new Sample([7]).percentile(99.9), 7);
  });
});

// What charts are drawn from: thinning, cumulative shares, rates and concurrency over time, with values worked out by hand.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { logRange, logTicks } from '#vitrine/bench/html-report/page/log-scale.js';
import { binCount, concurrencyOverTime, throughputOverTime } from '#vitrine/bench/series/over-time.js';
import { type RequestTimes, timesOf } from '#vitrine/bench/series/request-times.js';
import { cumulativeShare, thin, thinCloud } from '#vitrine/bench/series/thin.js';
import { renderThroughputPlot } from '#vitrine/bench/serving/results/throughput-plot.js';
import { record, runOf } from '../support/bench-records.js';

const GOOD: RequestTimes = {
  ...{ index: 0, turn: 0, due: 0, sent: 0, first: 0.5, end: 2, promptLen: 10, outputLen: 4, gaps: [0.5, 0.5, 0.5] },
  error: '',
};

describe('thinning', () => {
  test('few points stay as they are', () => {
    const points = [
      [0, 3],
      [1, 1],
      [2, 2],
    ] as [number, number][];
    assert.deepEqual(thin(points, 4), { x: [0, 1, 2], y: [3, 1, 2], total: 3 });
  });

  test('lowest and highest of each stretch, in order of x', () => {
    const y = [5, 9, 1, 5, /**/ 2, 3, 8, 4];
    const points = y.map((value, x): [number, number] => [x, value]);
    assert.deepEqual(thin(points, 4), { x: [1, 2, 4, 6], y: [9, 1, 2, 8], total: 8 });
  });

  test('no extreme of a large cloud is lost, and no more points are kept than asked for', () => {
    const points = Array.from({ length: 100_003 }, (_, x): [number, number] => [x, (x * 7919) % 1009]);
    points[54_321] = [54_321, 1e6];
    points[99_999] = [99_999, -1e6];
    const { x, y, total } = thin(points, 2000);
    assert.ok(x.length <= 2000, `${x.length}`);
    assert.equal(total, 100_003);
    assert.equal(y[x.indexOf(54_321)], 1e6);
    assert.equal(y[x.indexOf(99_999)], -1e6);
    assert.deepEqual(
      x,
      x.toSorted((a, b) => a - b),
    );
  });

  test('a flat stretch is one point or two, never none', () => {
    const points = Array.from({ length: 100 }, (_, x): [number, number] => [x, 7]);
    const { y } = thin(points, 10);
    assert.ok(y.length >= 5 && y.length <= 10);
    assert.ok(y.every((value) => value === 7));
  });
});

describe('thinning of a cloud', () => {
  const cloud = (points: readonly (readonly [number, number])[], most: number) =>
    thinCloud(
      Float64Array.from(points, ([x]) => x),
      Float64Array.from(points, ([, y]) => y),
      most,
    );

  test('few points are all kept, by rising x', () => {
    assert.deepEqual(
      cloud(
        [
          [2, 5],
          [0, 3],
          [1, 4],
        ],
        4,
      ),
      { x: [0, 1, 2], y: [3, 4, 5], total: 3 },
    );
    assert.deepEqual(cloud([], 4), { x: [], y: [], total: 0 });
  });

  test('of each stretch of x the lowest and the highest', () => {
    // Stretches [0, 5) and [5, 10].
    const points = [
      [10, 1],
      [6, 2],
      [7, 9],
      [0, 4],
      [4, 4],
      [1, 8],
      [2, 0],
    ] as const;
    assert.deepEqual(cloud(points, 4), { x: [1, 2, 7, 10], y: [8, 0, 9, 1], total: 7 });
  });

  test('at one x', () => {
    const points = [
      [1, 3],
      [1, 1],
      [1, 2],
      [1, 5],
      [1, 4],
    ] as const;
    assert.deepEqual(cloud(points, 4), { x: [1, 1], y: [1, 5], total: 5 });
  });
});

describe('cumulative share', () => {
  test('of unsorted values with repetitions', () => {
    assert.deepEqual(cumulativeShare([0.3, 0.1, 0.1, 0.2], 100), { x: [0.1, 0.2, 0.3], y: [0.5, 0.75, 1], total: 3 });
  });

  test('of nothing', () => {
    assert.deepEqual(cumulativeShare([], 100), { x: [], y: [], total: 0 });
  });

  test('of too many values: an even choice of the body, the tail one by one', () => {
    const { x, y, total } = cumulativeShare(
      Array.from({ length: 1000 }, (_, i) => 1000 - i),
      20,
    );
    assert.equal(total, 1000);
    assert.deepEqual(
      x,
      [1, 100, 199, 298, 397, 496, 595, 694, 793, 892, 991, 992, 993, 994, 995, 996, 997, 998, 999, 1000],
    );
    assert.deepEqual(
      y,
      x.map((value) => value / 1000),
    );
  });
});

describe('throughput over time', () => {
  test('tokens when they come, prompts at the first token, requests at their end', () => {
    // Tokens at 0.5, 1, 1.5 and 2 s.
    assert.deepEqual(throughputOverTime([GOOD], 4, 4), {
      width: 1,
      output: [1, 2, 1, 0],
      input: [10, 0, 0, 0],
      requests: [0, 0, 1, 0],
    });
  });

  test('what comes at the very end is in the last bin', () => {
    assert.deepEqual(throughputOverTime([GOOD], 2, 2).output, [1, 3]);
  });

  test('chunks of several tokens share the tokens of their request', () => {
    const { output } = throughputOverTime([{ ...GOOD, outputLen: 8 }], 4, 2);
    assert.deepEqual(output, [3, 1]);
    assert.equal((output[0]! + output[1]!) * 2, 8);
  });

  test('rates do not depend on the width of bins', () => {
    assert.deepEqual(throughputOverTime([GOOD], 4, 8).output, [0, 2, 2, 2, 2, 0, 0, 0]);
  });

  test('failed requests count for nothing', () => {
    const { output, input, requests } = throughputOverTime([{ ...GOOD, error: 'cut' }], 4, 2);
    assert.deepEqual(
      [output, input, requests],
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
    );
  });

  test('about a bin a second, within bounds', () => {
    assert.deepEqual(
      [0, 3, 60.4, 5000].map((duration) => binCount(duration, 20, 200)),
      [20, 20, 60, 200],
    );
  });
});

describe('concurrency over time', () => {
  const request = (sent: number, end: number, error = ''): RequestTimes => ({ ...GOOD, sent, end, error });

  test('steps at every start and end, failed requests too', () => {
    const steps = concurrencyOverTime([request(1, 4), request(2, 3, 'cut')]);
    assert.deepEqual(steps, [
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 1],
      [4, 0],
    ]);
  });

  test('a request that ends when another starts does not overlap it', () => {
    assert.deepEqual(concurrencyOverTime([request(0, 1), request(1, 2)]), [
      [0, 1],
      [1, 1],
      [2, 0],
    ]);
  });
});

const RECORD = record({ index: 3, turn: 1, arrivedAt: 99.5, gaps: [0.5, 1], completionTokens: undefined });
const RUN = runOf([RECORD], { start: 99, duration: 3, retokenized: [4] });

describe('times of a run', () => {
  test('from the start of the load, with gaps shared where tokens were counted', () => {
    const [times] = timesOf({ ...RUN, gapTokens: [[1, 2]] });
    assert.deepEqual(times, {
      ...{ index: 3, turn: 1, due: 0.5, sent: 1, first: 1.5, end: 3, promptLen: 10, outputLen: 4 },
      ...{ gaps: [0.5, 0.5, 0.5], error: '' },
    });
  });

  test('interrupted requests are no successes', () => {
    const [times] = timesOf({ ...RUN, records: [{ ...RECORD, interrupted: true }] });
    assert.deepEqual([times!.error, times!.outputLen], ['interrupted', 0]);
  });
});

describe('plot in the terminal', () => {
  test('axes that begin at 0, lines as high as the figures', () => {
    const lines = renderThroughputPlot({ ...RUN, records: [RECORD, { ...RECORD, index: 4 }], retokenized: [4, 4] });
    const text = lines.join('\n');
    assert.match(text, /Output throughput \(tok\/s\) over time \(s\)/);
    assert.match(text, /Concurrent requests over time \(s\)\n ▲\n4┤\n(.*\n)+2┤ *┏━+\n/);
    // Twice 4/3 tokens in a bin of 3/40 s.
    assert.match(text, /\n36┤/);
  });

  test('of a run in which nothing succeeded', () => {
    const lines = renderThroughputPlot({ ...RUN, records: [{ ...RECORD, error: 'cut' }] });
    assert.match(lines.join('\n'), /Output throughput/);
  });

  test('of a run without duration', () => {
    assert.ok(renderThroughputPlot({ ...RUN, records: [], retokenized: [], duration: 0 }).length > 0);
  });
});

describe('logarithmic axes', () => {
  test('end at values of one digit, or at powers of 2', () => {
    const ends = (min: number, max: number, base: 2 | 10) =>
      logRange(min, max, base).map((end) => Number(end.toPrecision(5)));
    assert.deepEqual(ends(0.034, 1.2, 10), [0.03, 2]);
    assert.deepEqual(ends(3, 3, 10), [3, 30]);
    // A hair around the data does not move an end, and stays inside.
    assert.deepEqual(ends(1 - 1e-9, 32 + 1e-9, 2), [1, 32]);
    assert.deepEqual(ends(3, 33, 2), [2, 64]);
    const [low, high] = logRange(1 - 1e-9, 32 + 1e-9, 2);
    assert.ok(low < 1 - 1e-9 && high > 32 + 1e-9);
  });

  test('of nothing', () => {
    assert.deepEqual(logRange(Number.NaN, Number.NaN, 10), [1, 10]);
  });

  test('have ticks at 1, 2 and 5, at powers of ten alone where these are many, or at powers of 2', () => {
    assert.deepEqual(logTicks(0.03, 2, 10), [0.05, 0.1, 0.2, 0.5, 1, 2]);
    assert.deepEqual(logTicks(0.001, 20, 10), [0.001, 0.01, 0.1, 1, 10]);
    assert.deepEqual(logTicks(1, 32, 2), [1, 2, 4, 8, 16, 32]);
  });
});

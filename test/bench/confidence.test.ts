// Intervals against published tables, worked examples and brute force.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  clusteredMeanInterval,
  meanInterval,
  sampleDeviation,
  welchInterval,
} from '#vitrine/bench/statistics/confidence.js';
import { studentT95 } from '#vitrine/bench/statistics/student-t.js';
import { createRandom } from '../support/random.js';

const close = (actual: number, expected: number, tolerance = 1e-9): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

test('Student’s t is that of the tables', () => {
  const table = {
    1: 12.7062,
    2: 4.3027,
    3: 3.1824,
    4: 2.7764,
    5: 2.5706,
    9: 2.2622,
    10: 2.2281,
    30: 2.0423,
    100: 1.984,
  };
  for (const [degrees, value] of Object.entries(table)) close(studentT95(Number(degrees)), value, 5e-5);
  close(studentT95(1000), 1.96234, 5e-6);
  // Across the change of formula, and rounded down.
  assert.ok(studentT95(500) > studentT95(501) && studentT95(500) - studentT95(501) < 1e-5);
  assert.equal(studentT95(4.9), studentT95(4));
});

test('of a mean', () => {
  // Mean 3, s² 2.5: 3 ± 2.7764 · √(2.5 / 5).
  const [low, high] = meanInterval([1, 2, 3, 4, 5])!;
  close(low, 3 - 2.776445 * Math.SQRT1_2, 1e-6);
  close(high, 3 + 2.776445 * Math.SQRT1_2, 1e-6);
  close(sampleDeviation([1, 2, 3, 4, 5])!, Math.sqrt(2.5));
  assert.equal(meanInterval([7]), undefined);
  assert.equal(meanInterval([]), undefined);
  assert.equal(sampleDeviation([7]), undefined);
});

describe('of a mean over clusters', () => {
  test('by hand', () => {
    // Sums 2, 6, 7 over 2, 3, 1 values: ratio 15 / 6 = 2.5; residuals -3, -1.5, 4.5: Σ² = 31.5.
    const [low, high] = clusteredMeanInterval([[1, 1], [1, 2, 3], [], [7]])!;
    const margin = (4.302653 * Math.sqrt(1.5 * 31.5)) / 6;
    close((low + high) / 2, 2.5);
    close(high - low, 2 * margin, 1e-5);
  });

  test('of one value each is that of independent values', () => {
    const values = [3, 1, 4, 1, 5, 9, 2, 6];
    const [low, high] = meanInterval(values)!;
    const clustered = clusteredMeanInterval(values.map((value) => [value]))!;
    close(clustered[0], low);
    close(clustered[1], high);
  });

  test('does not narrow when each value is seen ten times', () => {
    const values = [3, 1, 4, 1, 5, 9, 2, 6];
    const [low, high] = clusteredMeanInterval(values.map((value) => Array(10).fill(value)))!;
    close(high - low, meanInterval(values)![1] - meanInterval(values)![0]);
    const naive = meanInterval(values.flatMap((value) => Array<number>(10).fill(value)))!;
    assert.ok(naive[1] - naive[0] < (high - low) / 2);
  });

  test('holds the true mean in about 95 of 100 samples of dependent gaps', () => {
    const random = createRandom(7);
    // Each request has a pace of its own, and between 1 and 20 gaps; the true mean gap is 1.
    const covered = Array.from({ length: 1000 }, () => {
      const requests = Array.from({ length: 40 }, () => {
        const pace = 0.5 + random();
        return Array.from({ length: 1 + Math.floor(random() * 20) }, () => pace * (0.5 + random()));
      });
      const [low, high] = clusteredMeanInterval(requests)!;
      return low <= 1 && high >= 1;
    }).filter(Boolean).length;
    assert.ok(covered > 920 && covered < 975, `${covered} of 1000`);
  });

  test('needs two clusters with values', () => {
    assert.equal(clusteredMeanInterval([[1, 2], []]), undefined);
    assert.equal(clusteredMeanInterval([]), undefined);
  });
});

describe('of a difference', () => {
  test('Welch’s, by hand', () => {
    // Means 2 and 6; s² 1 and 4, so variances of means 1/3 and 4/3; degrees (5/3)² / ((1/9)/2 + (16/9)/2) = 2.94 → 2.
    const [low, high] = welchInterval([1, 2, 3], [4, 6, 8])!;
    close(low, 4 - 4.302653 * Math.sqrt(5 / 3), 1e-5);
    close(high, 4 + 4.302653 * Math.sqrt(5 / 3), 1e-5);
  });

  test('without any spread it is the difference', () => {
    assert.deepEqual(welchInterval([2, 2], [3, 3]), [1, 1]);
  });

  test('one value tells no spread', () => {
    assert.equal(welchInterval([1], [2, 3]), undefined);
    assert.equal(welchInterval([1, 2], [3]), undefined);
  });
});

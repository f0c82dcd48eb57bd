// 95 % confidence intervals of means and of differences of means.
import { mean, sum } from './statistics.js';
import { studentT95 } from './student-t.js';

/** Lower and upper end. */
export type Interval = readonly [number, number];

/** Sample variance (ddof 1); at least two values. */
function sampleVariance(values: readonly number[]): number {
  const middle = mean(values);
  return sum(values.map((value) => (value - middle) ** 2)) / (values.length - 1);
}

/** Sample standard deviation (ddof 1); undefined for fewer than two values. */
export function sampleDeviation(values: readonly number[]): number | undefined {
  return values.length < 2 ? undefined : Math.sqrt(sampleVariance(values));
}

/** Of the mean of independent values, by Student's t; undefined for fewer than two. */
export function meanInterval(values: readonly number[]): Interval | undefined {
  const count = values.length;
  if (count < 2) return undefined;
  return around(mean(values), studentT95(count - 1) * Math.sqrt(sampleVariance(values) / count));
}

/**
 * Of the mean of all values of all clusters, where values of one cluster depend on each other and clusters do not: the
 * mean is a ratio of two sums over clusters, its variance that of the linearised ratio (Cochran, Sampling Techniques,
 * 1977, 6.4 and 9A.1). undefined for fewer than two clusters with values.
 */
export function clusteredMeanInterval(clusters: readonly (readonly number[])[]): Interval | undefined {
  const filled = clusters.filter((values) => values.length > 0);
  const count = filled.length;
  if (count < 2) return undefined;
  const sums = filled.map(sum);
  const total = sum(filled.map((values) => values.length));
  const ratio = sum(sums) / total;
  const residuals = sum(filled.map((values, i) => (sums[i]! - ratio * values.length) ** 2));
  return around(ratio, (studentT95(count - 1) * Math.sqrt((count / (count - 1)) * residuals)) / total);
}

/** Of mean(b) − mean(a) for samples of unequal variance (Welch, 1947); undefined where either has fewer than two values. */
export function welchInterval(a: readonly number[], b: readonly number[]): Interval | undefined {
  if (a.length < 2 || b.length < 2) return undefined;
  const difference = mean(b) - mean(a);
  const [varianceA, varianceB] = [sampleVariance(a) / a.length, sampleVariance(b) / b.length];
  const variance = varianceA + varianceB;
  if (variance === 0) return [difference, difference];
  const degrees = variance ** 2 / (varianceA ** 2 / (a.length - 1) + varianceB ** 2 / (b.length - 1));
  return around(difference, studentT95(degrees) * Math.sqrt(variance));
}

const around = (middle: number, margin: number): Interval => [middle - margin, middle + margin];

// The charts of a serving run, computed from its requests and thinned to what a page can hold.
import { binCount, concurrencyOverTime, throughputOverTime } from '../series/over-time.js';
import { chunkTimes, type RequestTimes } from '../series/request-times.js';
import { cumulativeShare, type Points, thin, thinCloud } from '../series/thin.js';
import { concatenate, type Numbers } from '../statistics/statistics.js';
import type { ServingCharts, Timeline } from './page/report-data.js';

/** Points of one curve or cloud, requests of one timeline. */
const MOST_POINTS = 20_000;
const FEWEST_BINS = 20;
const MOST_BINS = 200;
/** Microseconds are finer than any clock here, and a third of the size of all digits. */
const DECIMALS = 6;

const round = (value: number): number => Number(value.toFixed(DECIMALS));
const roundPoints = ({ x, y, total }: Points): Points => ({ x: x.map(round), y: y.map(round), total });

/** `duration`: seconds of the run. `steadyState`: seconds from its start. */
export function servingCharts(
  requests: readonly RequestTimes[],
  duration: number,
  steadyState?: readonly [number, number],
): ServingCharts {
  const good = requests.filter(({ error }) => error === '');
  const begun = good.filter((request): request is RequestTimes & { first: number } => request.first !== undefined);
  const share = (seconds: Numbers) => roundPoints(cumulativeShare(seconds, MOST_POINTS));
  const cloud = (x: Numbers, y: Numbers) =>
    roundPoints(thinCloud(new Float64Array(x), new Float64Array(y), MOST_POINTS));
  const firsts = begun.map(({ first }) => first);
  const ttfts = begun.map(({ sent, first }) => first - sent);
  const gapEnds = concatenate(begun.map((request) => chunkTimes(request).slice(1)));
  const gaps = concatenate(begun.map((request) => request.gaps));
  const {
    width,
    output,
    input,
    requests: ended,
  } = throughputOverTime(requests, duration, binCount(duration, FEWEST_BINS, MOST_BINS));
  return {
    duration: round(duration),
    cdf: {
      ttft: share(ttfts),
      tpot: share(
        begun
          .filter(({ outputLen }) => outputLen > 1)
          .map(({ first, end, outputLen }) => (end - first) / (outputLen - 1)),
      ),
      itl: share(gaps),
      e2e: share(good.map(({ sent, end }) => end - sent)),
    },
    ttft: cloud(firsts, ttfts),
    itl: cloud(gapEnds, gaps),
    timeline: timeline(requests),
    throughput: { width, output: output.map(round), input: input.map(round), requests: ended.map(round) },
    concurrency: roundPoints(thin(concurrencyOverTime(requests), MOST_POINTS)),
    ...(steadyState === undefined ? {} : { steadyState }),
  };
}

function timeline(requests: readonly RequestTimes[]): Timeline {
  const shown = [...mostTelling(requests)].sort((a, b) => a.sent - b.sent || a.index - b.index || a.turn - b.turn);
  const errors = [...new Set(shown.map(({ error }) => error))].filter((error) => error !== '');
  const positions = new Map(errors.map((error, position) => [error, position]));
  return {
    index: shown.map(({ index }) => index),
    turn: shown.map(({ turn }) => turn),
    due: shown.map(({ due }) => round(due)),
    sent: shown.map(({ sent }) => round(sent)),
    first: shown.map(({ first }) => (first === undefined ? null : round(first))),
    end: shown.map(({ end }) => round(end)),
    promptLen: shown.map(({ promptLen }) => promptLen),
    outputLen: shown.map(({ outputLen }) => outputLen),
    error: shown.map(({ error }) => positions.get(error) ?? -1),
    errors,
    total: requests.length,
  };
}

/** Of too many requests: the slowest half of what can be shown, and an even choice of the others. */
function mostTelling(requests: readonly RequestTimes[]): readonly RequestTimes[] {
  if (requests.length <= MOST_POINTS) return requests;
  const bySlowness = [...requests].sort((a, b) => b.end - b.sent - (a.end - a.sent));
  const slowest = bySlowness.slice(0, MOST_POINTS / 2);
  const rest = bySlowness.slice(MOST_POINTS / 2);
  const step = rest.length / (MOST_POINTS / 2);
  return [...slowest, ...Array.from({ length: MOST_POINTS / 2 }, (_, i) => rest[Math.floor(i * step)]!)];
}

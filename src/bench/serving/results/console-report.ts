// The console block of a run: SGLang's rows as they are, then what SGLang does not tell.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import type { Sample } from '../../statistics/statistics.js';
import { heading, row, WIDTH } from '../../terminal/console-block.js';
import type { RunRecords } from '../load/request-record.js';
import type { Goodput, ObjectiveName } from '../metrics/goodput.js';
import type { Metrics } from '../metrics/metrics.js';
import type { RunFigures } from '../metrics/run-figures.js';
import { isGrowing, type NoSteadyState, type SteadyState } from '../metrics/steady-state.js';
import { pythonFloat } from './python-repr.js';

const count = (label: string, value: number): string => row(label, String(value));
const real = (label: string, value: number): string => row(label, value.toFixed(2));

export function formatRate(rate: number | 'trace'): string {
  return rate === Number.POSITIVE_INFINITY ? 'inf' : String(rate);
}

/** The whole block of a run; `rate` is that of the workload. */
export function renderRun(options: BenchServingOptions, rate: number | 'trace', figures: RunFigures): string[] {
  const { metrics, goodput, steadyState, run } = figures;
  return [
    ...renderReport(options, metrics, rate),
    ...renderAdditions(metrics),
    ...(goodput === undefined ? [] : renderGoodput(goodput)),
    ...(steadyState === undefined ? [] : renderSteadyState(steadyState, run)),
    '='.repeat(WIDTH),
  ];
}

/** SGLang's block, in its wording and order. */
function renderReport(options: BenchServingOptions, metrics: Metrics, rate: number | 'trace'): string[] {
  const rows = [
    '',
    heading(' Serving Benchmark Result ', '='),
    row('Backend:', options.backend),
    row('Traffic request rate:', rate === 'trace' ? rate : pythonFloat(rate)),
    row('Max request concurrency:', options.maxConcurrency ? String(options.maxConcurrency) : 'not set'),
    count('Successful requests:', metrics.completed),
    real('Benchmark duration (s):', metrics.duration),
    count('Total input tokens:', metrics.totalInput),
    count('Total input text tokens:', metrics.totalInput),
    count('Total generated tokens:', metrics.totalOutput),
    count('Total generated tokens (retokenized):', metrics.totalOutputRetokenized),
    real('Request throughput (req/s):', metrics.requestThroughput),
    real('Input token throughput (tok/s):', metrics.inputThroughput),
    real('Output token throughput (tok/s):', metrics.outputThroughput),
    real('Peak output token throughput (tok/s):', metrics.maxOutputTokensPerSecond),
    count('Peak concurrent requests:', metrics.maxConcurrentRequests),
    real('Total token throughput (tok/s):', metrics.totalThroughput),
    real('Concurrency:', metrics.concurrency),
  ];
  if (metrics.acceptLength !== undefined) rows.push(real('Accept length:', metrics.acceptLength));
  rows.push(
    heading('End-to-End Latency', '-'),
    ...latencyRows('E2E Latency', metrics.e2e, [90, 99]),
    heading('Time to First Token', '-'),
    ...latencyRows('TTFT', metrics.ttft, [99]),
    heading('Time per Output Token (excl. 1st token)', '-'),
    ...latencyRows('TPOT', metrics.tpot, [99]),
    heading('Inter-Token Latency', '-'),
    ...latencyRows('ITL', metrics.itl, [95, 99]),
    real('Max ITL (ms):', metrics.itl.max * 1000),
    '='.repeat(WIDTH),
  );
  return rows;
}

function latencyRows(name: string, sample: Sample, percents: readonly number[]): string[] {
  return [
    real(`Mean ${name} (ms):`, sample.mean * 1000),
    real(`Median ${name} (ms):`, sample.median * 1000),
    ...percents.map((percent) => real(`P${percent} ${name} (ms):`, sample.percentile(percent) * 1000)),
  ];
}

/** Our own figures, below SGLang's block. */
function renderAdditions(metrics: Metrics): string[] {
  const rows = [
    heading(' More ', '-'),
    count('Failed requests:', metrics.failed),
    ...(metrics.interrupted > 0 ? [count('Interrupted requests:', metrics.interrupted)] : []),
    count('Most requests at once (exact):', metrics.peakConcurrency),
    count('Most tokens in any one second:', metrics.peakOutputThroughput),
    row('Output lengths from server / text:', `${metrics.lengthSources.server} / ${metrics.lengthSources.retokenized}`),
  ];
  if (metrics.serverInput !== undefined) rows.push(count('Input tokens by the server:', metrics.serverInput));
  if (metrics.achievedRate !== undefined) rows.push(real('Achieved request rate (req/s):', metrics.achievedRate));
  rows.push(...latencyRows('client queueing', metrics.queue, [99]), ...percentileTable(metrics));
  const { meanIntervals } = metrics;
  for (const [name, key] of [
    ['TTFT', 'ttft'],
    ['TPOT', 'tpot'],
    ['ITL', 'itl'],
    ['E2E', 'e2e'],
  ] as const) {
    const interval = meanIntervals[key];
    const text =
      interval === undefined ? 'too few requests' : interval.map((end) => (end * 1000).toFixed(2)).join(' … ');
    rows.push(row(`95% interval of mean ${name} (ms):`, text));
  }
  return rows;
}

/** The share of the requests that keep the objectives of --goodput. */
function renderGoodput(goodput: Goodput): string[] {
  const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;
  const objectives = Object.entries(goodput.objectives).map(([name, seconds]) => {
    const label = `${name.toUpperCase()} within ${Number((seconds * 1000).toFixed(6))} ms:`;
    return row(label, percent(goodput.attainment[name as ObjectiveName]!));
  });
  return [
    heading('Goodput', '-'),
    real('Request goodput (req/s):', goodput.rate),
    row('Requests that meet all objectives:', `${goodput.goodRequests} (${percent(goodput.share)})`),
    ...objectives,
  ];
}

/** The time between ramp-up and drain; `run` is the whole. */
function renderSteadyState(state: SteadyState | NoSteadyState, run: RunRecords): string[] {
  const title = heading('Steady State', '-');
  if (state.window === undefined) return [title, `None: ${state.reason}.`];
  const { window } = state;
  const rows = [
    title,
    row('Window (s after the start):', [window.start, window.end].map((at) => (at - run.start).toFixed(2)).join(' … ')),
    row('Share of the duration:', `${(((window.end - window.start) / run.duration) * 100).toFixed(1)} %`),
    row('Requests sent / completed in it:', `${state.requests} / ${state.completed}`),
    real('Request throughput (req/s):', state.requestThroughput),
    real('Input token throughput (tok/s):', state.inputThroughput),
    real('Output token throughput (tok/s):', state.outputThroughput),
    real('Total token throughput (tok/s):', state.totalThroughput),
    real('Concurrency:', state.concurrency),
    ...(state.goodput === undefined ? [] : [real('Request goodput (req/s):', state.goodput.rate)]),
    ...percentileTable(state),
  ];
  if (isGrowing(state)) {
    const [first, second] = state.concurrencyOfHalves.map((mean) => mean.toFixed(1));
    rows.push(`Not steady: ${first} requests in flight in its first half, ${second} in its second;`);
    rows.push('the server falls behind the arrivals.');
  }
  return rows;
}

function percentileTable(metrics: Pick<Metrics, 'ttft' | 'tpot' | 'itl' | 'e2e'>): string[] {
  const columns = [50, 90, 95, 99, 99.9];
  const line = (cells: readonly string[]): string => cells.map((cell, i) => cell.padStart(i === 0 ? 6 : 10)).join('');
  const header = line(['(ms)', ...columns.map((percent) => `p${percent}`), 'max']);
  const samples = { TTFT: metrics.ttft, TPOT: metrics.tpot, ITL: metrics.itl, E2E: metrics.e2e };
  const rows = Object.entries(samples).map(([name, sample]) => {
    const values = [...columns.map((percent) => sample.percentile(percent)), sample.max];
    return line([name, ...values.map((seconds) => (seconds * 1000).toFixed(2))]);
  });
  return [header, ...rows];
}

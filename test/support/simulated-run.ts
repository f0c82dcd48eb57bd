// Serving runs as they might have been measured, and their rows.
import { Random } from '#vitrine/bench/random.js';
import type { ResultRow } from '#vitrine/bench/results/figures.js';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import type { MeasuredRun } from '#vitrine/bench/serving/metrics/measured-run.js';
import { computeFigures } from '#vitrine/bench/serving/metrics/run-figures.js';
import { resultRow } from '#vitrine/bench/serving/results/result-row.js';
import { sum } from '#vitrine/bench/statistics/statistics.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { record, runOf, unscheduled } from './bench-records.js';

export interface SimulatedLoad {
  readonly requests: number;
  readonly seed: number;
  /** Requests at once; others wait in the client. */
  readonly concurrency: number;
  /** Of every tenth request; '' for none. */
  readonly error?: string;
}

/** Seconds; tokens take some 15 ms each. The clock of the records starts at 100 s. */
export function simulateRun({ requests, seed, concurrency, error = '' }: SimulatedLoad): MeasuredRun {
  const random = new Random(seed, 'simulated run');
  const freeAt = new Array<number>(concurrency).fill(100);
  const start = 100;
  const records = Array.from({ length: requests }, (_, index): RequestRecord => {
    const arrivedAt = start + index * 0.02;
    const place = freeAt.indexOf(Math.min(...freeAt));
    const sentAt = Math.max(arrivedAt, freeAt[place]!);
    const tokens = random.integer(2, 30);
    const ttft = 0.03 + random.exponential(0.02);
    const gaps = Array.from({ length: tokens - 1 }, () => 0.01 + random.exponential(0.005));
    const endedAt = sentAt + ttft + sum(gaps);
    freeAt[place] = endedAt;
    const promptLen = random.integer(8, 200);
    const fails = error !== '' && index % 10 === 9;
    return record({
      ...{ index, promptLen, requestedLen: tokens, arrivedAt, sentAt, endedAt },
      ...(fails
        ? { error, ttft: undefined, firstToken: undefined, gaps: [], completionTokens: undefined }
        : { ttft, firstToken: ttft, gaps, completionTokens: tokens }),
    });
  });
  const duration = Math.max(...records.map(({ endedAt }) => endedAt)) - start;
  return runOf(records, { start, duration });
}

/** As in a result file, with the details of every request. */
export function rowOf(run: MeasuredRun, flags: readonly string[] = []): ResultRow {
  const { options } = parseArguments(BENCH_SERVING, ['--output-details', ...flags], {});
  const figures = computeFigures(run, { objectives: undefined, steadyState: options.steadyState });
  const requests = run.records.map(({ promptLen, requestedLen }) => ({
    prompt: 'x',
    ...{ promptLen, outputLen: requestedLen },
  }));
  const info = { version: '1.2.3', model_path: 'models/tiny', device_name: 'A processor', api_key: 'hidden' };
  return resultRow({ ...figures, options, workload: unscheduled(requests), runNumber: 1, serverInfo: info });
}

// Rows and reports of unusual runs: conversations, runs without a success, runs without anything.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BenchRequest } from '#vitrine/bench/datasets/bench-request.js';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import { computeFigures } from '#vitrine/bench/serving/metrics/run-figures.js';
import { renderRun } from '#vitrine/bench/serving/results/console-report.js';
import { requestDetails, savedRun } from '#vitrine/bench/serving/results/details.js';
import { resultRow } from '#vitrine/bench/serving/results/result-row.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { record, runOf, unscheduled } from '../support/bench-records.js';

describe('conversations', () => {
  const followUp = (outputLen: number) => ({ text: 'and then?', tokens: 3, outputLen });
  const requests: BenchRequest[] = [
    { prompt: 'a', promptLen: 10, outputLen: 4, followUps: [followUp(5), followUp(6)] },
    { prompt: 'b', promptLen: 20, outputLen: 7 },
  ];
  // The second turn of the first conversation failed: its third was never sent.
  const records = [
    record({ promptLen: 10 }),
    record({ turn: 1, promptLen: 17, sentAt: 102, endedAt: 103, error: 'HTTP 500', ttft: undefined, gaps: [] }),
    record({ index: 1, promptLen: 20, sentAt: 101, endedAt: 104, interrupted: true, error: 'aborted' }),
  ];
  const run = runOf(records, { start: 100, duration: 4, retokenized: [5, 0, 2] });
  const details = requestDetails(requests, run);

  test('have one entry a turn, in order', () => {
    assert.deepEqual(details.request_indices, [0, 0, 0, 1]);
    assert.deepEqual(details.turns, [0, 1, 2, 0]);
    assert.deepEqual(details.statuses, ['ok', 'failed', 'not sent', 'interrupted']);
    assert.deepEqual(details.input_lens, [10, 17, 0, 20]);
    assert.deepEqual(details.requested_lens, [4, 5, 6, 7]);
    assert.deepEqual(details.output_lens, [4, 0, 0, 0]);
    assert.deepEqual(details.ttfts, [0.5, 0, 0, 0]);
    assert.deepEqual(details.itls, [[0.5, 0.5, 0.5], [], [], []]);
    assert.deepEqual(details.errors, ['', 'HTTP 500', 'not sent', 'aborted']);
    assert.deepEqual(details.starts, [0, 2, null, 1]);
    assert.deepEqual(details.ends, [2, 3, null, 4]);
    assert.deepEqual(details.arrivals, [0, 0, null, 0]);
    for (const array of Object.values(details)) assert.equal(array.length, 4);
  });

  test('are read back as they were', () => {
    const saved = JSON.parse(JSON.stringify({ ...details, duration: 4, started_at: '2026-01-01T00:00:00.000Z' }));
    const back = savedRun(saved);
    assert.equal(back.startedAt, run.startedAt);
    assert.deepEqual(back.retokenized, [5, 0, 0]);
    const ofRecord = ({ index, turn, interrupted, error }: RequestRecord) => [index, turn, interrupted, error];
    assert.deepEqual(back.records.map(ofRecord), records.map(ofRecord));
    const { arrivedAt, sentAt, endedAt, ...rest } = back.records[0]!;
    assert.deepEqual([arrivedAt, sentAt, endedAt], [0, 0, 2]);
    const { arrivedAt: _, sentAt: __, endedAt: ___, ...original } = { ...records[0]!, requestedLen: 4 };
    assert.deepEqual(rest, original);
  });
});

describe('every figure is a number', () => {
  const failure = record({
    error: 'HTTP 500',
    ttft: undefined,
    firstToken: undefined,
    gaps: [],
    completionTokens: undefined,
  });
  const cases: Record<string, RequestRecord[]> = {
    'no request': [],
    'one request': [record({})],
    'one token': [record({ gaps: [], completionTokens: 1 })],
    'no token': [record({ gaps: [], ttft: undefined, firstToken: undefined, completionTokens: 0 })],
    'no success': [failure, { ...failure, index: 1 }],
    'all at one moment': [
      record({ sentAt: 5, endedAt: 5, ttft: 0, gaps: [] }),
      record({ index: 1, sentAt: 5, endedAt: 5, ttft: 0, gaps: [] }),
    ],
  };
  const { options } = parseArguments(BENCH_SERVING, ['--output-details', '--steady-state'], {});
  for (const [name, records] of Object.entries(cases)) {
    test(name, () => {
      const figures = computeFigures(runOf(records), { objectives: { ttft: 1, e2e: 1 }, steadyState: true });
      const requests = records.map((): BenchRequest => ({ prompt: 'x', promptLen: 10, outputLen: 4 }));
      const row = resultRow({
        ...figures,
        options,
        workload: unscheduled(requests),
        runNumber: 1,
        serverInfo: null,
      });
      assert.doesNotMatch(renderRun(options, Number.POSITIVE_INFINITY, figures).join('\n'), /NaN|Infinity|undefined/);
      for (const [key, value] of Object.entries(row)) {
        if (typeof value === 'number') assert.ok(Number.isFinite(value), key);
        if (/^(mean|median|std|p\d+|max)_.*_ms$/.test(key)) assert.equal(typeof value, 'number', key);
      }
      assert.equal((row.steady_state as { window: unknown }).window, null);
    });
  }
});

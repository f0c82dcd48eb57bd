// Recorded answers, byte for byte and with the times of their chunks, fed to the client: every figure that SGLang has by
// SGLang's definition and ours by ours, with values worked out by hand.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BackendName, selectBackend } from '#vitrine/bench/serving/backends/select-backend.js';
import { AnswerRecorder } from '#vitrine/bench/serving/load/answer-recorder.js';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import { computeMetrics } from '#vitrine/bench/serving/metrics/metrics.js';
import { resultRow } from '#vitrine/bench/serving/results/result-row.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { runOf, unscheduled } from '../support/bench-records.js';

/** Milliseconds after the send, and what came then. */
type Chunk = readonly [number, string];

function play(backend: BackendName, index: number, sentAt: number, chunks: readonly Chunk[]): RequestRecord {
  const { reader, countsTokens, namesEnd } = selectBackend(backend);
  const recorder = new AnswerRecorder({
    ...{
      index,
      turn: 0,
      promptLen: 10,
      requestedLen: 9,
      arrivedAt: sentAt,
      sentAt,
      countsTokens,
      namesEnd,
      stream: true,
    },
    reader: reader(),
  });
  recorder.head(200, 'OK', 'text/event-stream');
  for (const [ms, text] of chunks) recorder.chunk(Buffer.from(text), sentAt + ms / 1000);
  return recorder.finish(undefined, false, sentAt + chunks.at(-1)![0] / 1000);
}

const close = (actual: unknown, expected: number, what: string): void =>
  assert.ok(Math.abs((actual as number) - expected) < 1e-6, `${what}: ${actual} is not ${expected}`);

const native = (text: string, tokens: number, finish: string | null = null): string =>
  `data: ${JSON.stringify({ text, meta_info: { prompt_tokens: 12, completion_tokens: tokens, finish_reason: finish && { type: finish } } })}\n\n`;

/** Two requests of /generate, sent at 0 and at 0.5 s. */
const NATIVE = [
  // First token without text at 100 ms, text with the second at 150; then 3 tokens in one chunk at 300, a chunk without a
  // new token at 350, and the sixth at 400.
  play('sglang', 0, 0, [
    [100, native('', 1)],
    [150, native('a', 2)],
    [300, native('abcd', 5)],
    [350, native('abcd', 5)],
    [400, native('abcdef', 6, 'length')],
    [410, 'data: [DONE]\n\n'],
  ]),
  // One token.
  play('sglang', 1, 0.5, [
    [200, native('x', 1, 'length')],
    [200, 'data: [DONE]\n\n'],
  ]),
];

describe('/generate', () => {
  const { options } = parseArguments(BENCH_SERVING, ['--goodput', 'ttft:175', 'tpot:52'], {});
  const run = runOf(NATIVE);
  const metrics = computeMetrics(run);
  const row = resultRow({
    ...{ options, run, metrics, runNumber: 1, serverInfo: null, goodput: undefined, steadyState: undefined },
    workload: unscheduled([]),
  });

  test('SGLang’s keys', () => {
    const expected = {
      duration: 0.7,
      completed: 2,
      total_input_tokens: 20,
      total_output_tokens: 7,
      request_throughput: 2 / 0.7,
      input_throughput: 20 / 0.7,
      output_throughput: 7 / 0.7,
      total_throughput: 27 / 0.7,
      // TTFT to the first text: 150 and 200 ms.
      mean_ttft_ms: 175,
      median_ttft_ms: 175,
      std_ttft_ms: 25,
      p99_ttft_ms: 199.5,
      // E2E to the last line: 410 and 200 ms.
      mean_e2e_latency_ms: 305,
      p90_e2e_latency_ms: 389,
      // TPOT of the first only: (410 - 150) / 5.
      mean_tpot_ms: 52,
      p99_tpot_ms: 52,
      // ITL: 3 × 150 / 3, then 100 (from 300: the chunk without a token does not count).
      mean_itl_ms: 62.5,
      median_itl_ms: 50,
      p95_itl_ms: 92.5,
      p99_itl_ms: 98.5,
      concurrency: 0.61 / 0.7,
      // Buckets from 0 s: 5 tokens of the first (its first token has no time), 1 of the second.
      max_output_tokens_per_s: 6,
      max_concurrent_requests: 2,
    };
    for (const [key, value] of Object.entries(expected)) close(row[key], value, key);
  });

  test('our keys', () => {
    const expected = {
      server_input_tokens: 24,
      // The first token, text or not: 100 and 200 ms.
      mean_first_token_ms: 150,
      peak_concurrent_requests: 1,
      // All seven, those of a chunk with several included.
      peak_output_throughput: 7,
      p90_ttft_ms: 195,
      p95_ttft_ms: 197.5,
      p999_ttft_ms: 199.95,
      max_ttft_ms: 200,
      p90_itl_ms: 85,
      p999_itl_ms: 99.85,
      max_itl_ms: 100,
      p95_e2e_latency_ms: 399.5,
      max_e2e_latency_ms: 410,
      max_tpot_ms: 52,
      mean_client_queue_ms: 0,
    };
    for (const [key, value] of Object.entries(expected)) close(row[key], value, key);
    // 175 ± 12.7062 · 35.355 / √2.
    const [low, high] = row.ci95_mean_ttft_ms as [number, number];
    close(low, 175 - 12.7062047 * 25, 'low');
    close(high, 175 + 12.7062047 * 25, 'high');
    assert.equal(row.ci95_mean_tpot_ms, null, 'one request has a TPOT');
    assert.equal(row.ci95_mean_itl_ms, null, 'all gaps are of one request');
    assert.equal(row.request_rate, 'inf');
    assert.deepEqual(JSON.parse(JSON.stringify(row)), row, 'legal JSON that loses nothing');
  });
});

const chat = (content: string, finish: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
const usage = `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 6 } })}\n\n`;

describe('/v1/chat/completions', () => {
  // The role at 20 ms, text at 100, 200 and 400 (two chunks in one read), usage at 450.
  const chunks: Chunk[] = [
    [20, chat('')],
    [100, chat('One')],
    [200, chat(' two three')],
    [400, chat(' four') + chat(' five', 'length')],
    [450, `${usage}data: [DONE]\n\n`],
  ];
  const record = play('sglang-oai-chat', 0, 0, chunks);

  test('one gap a chunk; the length is that of the usage', () => {
    const metrics = computeMetrics(runOf([record]));
    close(metrics.ttft.mean, 0.1, 'TTFT');
    close(metrics.e2e.mean, 0.45, 'E2E');
    assert.equal(metrics.totalOutput, 6);
    close(metrics.tpot.mean, 0.35 / 5, 'TPOT');
    assert.deepEqual(
      Array.from(metrics.itl.values, (gap) => Math.round(gap * 1000)),
      [100, 200, 0],
    );
    assert.equal(metrics.maxOutputTokensPerSecond, 4, 'chunks, as SGLang counts');
  });

  test('a server that speculates: each gap is shared among the tokens of its chunk', () => {
    const metrics = computeMetrics(runOf([record], { acceptLength: 1.5, gapTokens: [[2, 1, 1]] }));
    assert.deepEqual(
      Array.from(metrics.itl.values, (gap) => Math.round(gap * 1000)),
      [50, 50, 200, 0],
    );
  });

  test('an error inside the stream is a failure', () => {
    const failing: Chunk[] = [
      chunks[1]!,
      [150, 'data: {"error": {"message": "too long"}}\n\n'],
      [151, 'data: [DONE]\n\n'],
    ];
    const metrics = computeMetrics(runOf([play('sglang-oai-chat', 0, 0, failing)]));
    assert.deepEqual(
      [metrics.completed, metrics.failed, metrics.totalOutput, metrics.ttft.values.length],
      [0, 1, 0, 0],
    );
  });
});

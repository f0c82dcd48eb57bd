// bench-serving against a small server: every dialect, what is sent, what is measured, and every way a server can fail.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ResultRow } from '#vitrine/bench/results/figures.js';
import { parseObjectives } from '#vitrine/bench/serving/metrics/goodput.js';
import { computeFigures } from '#vitrine/bench/serving/metrics/run-figures.js';
import { type RequestDetails, savedRun } from '#vitrine/bench/serving/results/details.js';
import { resultRow } from '#vitrine/bench/serving/results/result-row.js';
import { workloadArguments } from '#vitrine/bench/serving/results/workload-arguments.js';
import { benchServing, type ServingResult } from '#vitrine/bench/serving/serving.js';
import { httpTarget } from '#vitrine/bench/serving/target.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { monotonicSeconds } from '#vitrine/util/clock.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { unscheduled } from '../support/bench-records.js';
import { createFakeAddon } from '../support/fake-engine.js';
import {
  type Behaviour,
  FakeLlmServer,
  GOOD_TEXT,
  GOOD_TOKENS,
  type ProfileBehaviour,
} from '../support/fake-llm-server.js';
import { doneReport, profileReport } from '../support/profile-reports.js';

const TOKENIZER = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vitrine-serving-'));
});
after(() => rm(folder, { recursive: true }));

interface Run extends ServingResult {
  /** Of the last run. */
  readonly row: ResultRow;
  readonly printed: string;
  readonly warned: string;
  readonly server: FakeLlmServer;
  /** The rows of the result file. */
  readonly saved: Record<string, unknown>[];
}

let runs = 0;

async function bench(
  flags: readonly string[],
  behave?: (index: number) => Behaviour,
  given: {
    environment?: Record<string, string>;
    info?: object;
    profile?: ProfileBehaviour;
    interrupt?: AbortSignal;
    /** Name and password in the address. */
    user?: string;
    onServer?: (server: FakeLlmServer) => void;
  } = {},
): Promise<Run> {
  const server = await FakeLlmServer.start(behave, given.info, given.profile);
  runs += 1;
  const file = join(folder, `${runs}.jsonl`);
  const url = given.user === undefined ? server.url : server.url.replace('//', `//${given.user}@`);
  const target = ['--base-url', url, '--tokenizer', TOKENIZER, '--output-file', file];
  const load = ['--dataset-name', 'random', '--num-prompts', '8', '--random-input', '6', '--random-output', '6'];
  const argv = [...target, ...load, '--warmup-requests', '0', ...flags];
  const printed: string[] = [];
  const warned: string[] = [];
  try {
    given.onServer?.(server);
    const { options } = parseArguments(BENCH_SERVING, argv, given.environment ?? {});
    const result = await benchServing(options, {
      output: { print: (line) => printed.push(line), warn: (line) => warned.push(line) },
      interrupt: given.interrupt ?? new AbortController().signal,
      environment: given.environment ?? {},
      addon: createFakeAddon,
    });
    const rows = (await readFile(file, 'utf8')).trimEnd().split('\n');
    return {
      ...result,
      row: result.rows.at(-1)!,
      printed: printed.join('\n'),
      warned: warned.join('\n'),
      server,
      saved: rows.map((row) => JSON.parse(row) as Record<string, unknown>),
    };
  } finally {
    await server.close();
  }
}

const PATHS = {
  sglang: '/generate',
  'sglang-native': '/generate',
  'sglang-oai': '/v1/completions',
  vllm: '/v1/completions',
  'sglang-oai-chat': '/v1/chat/completions',
  'vllm-chat': '/v1/chat/completions',
  lmdeploy: '/v1/completions',
  'lmdeploy-chat': '/v1/chat/completions',
} as const;

for (const [backend, path] of Object.entries(PATHS)) {
  describe(`backend ${backend}`, () => {
    test('a good run: lengths, texts and times of every request', async () => {
      const { row, saved, server, failed, warned } = await bench(['--backend', backend, '--output-details']);
      assert.equal(failed, 0);
      assert.equal(warned, '');
      assert.deepEqual(saved, [row]);
      assert.equal(row.backend, backend);
      assert.equal(row.completed, 8);
      assert.equal(row.total_output_tokens, 8 * GOOD_TOKENS);
      assert.deepEqual(row.output_len_sources, { server: 8, retokenized: 0 });
      assert.equal(row.server_input_tokens, 8 * 7);
      assert.deepEqual(row.generated_texts, Array(8).fill(GOOD_TEXT));
      assert.deepEqual(row.output_lens, Array(8).fill(GOOD_TOKENS));
      assert.deepEqual(row.errors, Array(8).fill(''));
      for (const gaps of row.itls as number[][]) assert.equal(gaps.length, GOOD_TOKENS - 1);
      for (const ttft of row.ttfts as number[]) assert.ok(ttft > 0);
      assert.equal(row.request_rate, 'inf');
      assert.equal((row.server_info as { version: string }).version, 'fake');
      assert.ok(server.received.every((request) => request.path === path));
    });

    test('without streaming', async () => {
      const { row, server } = await bench(['--backend', backend, '--disable-stream', '--output-details']);
      assert.equal(row.completed, 8);
      assert.equal(row.total_output_tokens, 8 * GOOD_TOKENS);
      assert.deepEqual(row.generated_texts, Array(8).fill(GOOD_TEXT));
      assert.equal(row.mean_itl_ms, 0);
      assert.ok(Math.abs((row.mean_ttft_ms as number) - (row.mean_e2e_latency_ms as number)) < 1);
      assert.ok(server.received.every(({ body }) => body.stream === false && !('stream_options' in body)));
    });

    test('failures of every kind are counted and grouped; the rest is measured', async () => {
      const kinds: Behaviour[] = [
        'too-many',
        'error-event',
        'abort',
        'cut',
        'no-end',
        'garbage',
        'unauthorized',
        'good',
      ];
      const flags = ['--backend', backend, '--num-prompts', '16', '--max-concurrency', '1', '--output-details'];
      const { row, failed, warned, printed } = await bench(flags, (index) => kinds[index % 8]!);
      assert.equal(failed, 14);
      assert.equal(row.completed, 2);
      const errors = row.errors as string[];
      assert.match(errors[0]!, /^HTTP 429 Too Many Requests: slow down, please$/);
      assert.match(errors[1]!, /^the prompt is too long$/);
      assert.match(errors[2]!, /^aborted/);
      assert.match(errors[3]!, /cut in the middle/);
      assert.match(errors[4]!, /without a finish reason/);
      assert.match(errors[5]!, /malformed answer: <html>oops<\/html>/);
      assert.match(errors[6]!, /^HTTP 401 Unauthorized: bad key$/);
      assert.equal(errors[7], '');
      assert.equal(Object.keys(row.errors_by_message as object).length, 7);
      assert.match(warned, /14 of 16 requests failed:/);
      assert.match(warned, / {2}2 × HTTP 429/);
      assert.match(printed, /Successful requests: +2 /);
      assert.equal(row.total_output_tokens, 2 * GOOD_TOKENS);
      assert.deepEqual((row.output_lens as number[]).slice(0, 8), [0, 0, 0, 0, 0, 0, 0, GOOD_TOKENS]);
    });

    test('the first token counts for TTFT only when its text comes, but is known', async () => {
      const { row } = await bench(['--backend', backend], () => 'silent-first');
      assert.equal(row.completed, 8);
      assert.ok((row.mean_first_token_ms as number) < (row.mean_ttft_ms as number));
    });
  });
}

describe('backends without counts', () => {
  for (const backend of ['trt', 'truss']) {
    test(`${backend}: lengths come from the text`, async () => {
      const { row, failed, server } = await bench(['--backend', backend, '--model', 'm', '--output-details']);
      assert.equal(failed, 0);
      assert.deepEqual(row.generated_texts, Array(8).fill(GOOD_TEXT));
      assert.equal((row.output_len_sources as { retokenized: number }).retokenized, backend === 'trt' ? 8 : 0);
      const path = backend === 'trt' ? '/v2/models/ensemble/generate_stream' : '/v1/models/model:predict';
      assert.ok(server.received.every((request) => request.path === path));
      for (const gaps of row.itls as number[][]) assert.equal(gaps.length, GOOD_TOKENS - 1);
    });
  }
});

describe('payloads', () => {
  const one = ['--num-prompts', '1', '--random-range-ratio', '1'];

  test('native', async () => {
    const flags = ['--return-logprob', '--extra-request-body', '{"stream_interval": 2}'];
    const { server } = await bench([...one, ...flags]);
    const { text, ...rest } = server.received[0]!.body;
    assert.equal(typeof text, 'string');
    assert.deepEqual(rest, {
      sampling_params: { temperature: 0, max_new_tokens: 6, ignore_eos: true },
      stream: true,
      return_logprob: true,
      logprob_start_len: -1,
      stream_interval: 2,
    });
  });

  test('native with token ids', async () => {
    const { server } = await bench([...one, '--tokenize-prompt', '--disable-ignore-eos']);
    const { input_ids: ids, text, sampling_params: sampling } = server.received[0]!.body;
    assert.equal((ids as number[]).length, 6);
    assert.equal(text, undefined);
    assert.equal((sampling as { ignore_eos: boolean }).ignore_eos, false);
  });

  test('completions', async () => {
    const flags = ['--backend', 'vllm', '--model', 'm', '--served-model-name', 'served'];
    const { server } = await bench([...one, ...flags]);
    const { prompt, ...rest } = server.received[0]!.body;
    assert.equal(typeof prompt, 'string');
    assert.deepEqual(rest, {
      model: 'served',
      best_of: 1,
      max_tokens: 6,
      stream: true,
      temperature: 0,
      ignore_eos: true,
      stream_options: { include_usage: true },
    });
  });

  test('chat', async () => {
    const { server } = await bench([...one, '--backend', 'vllm-chat', '--extra-request-body', '{"temperature": 0.5}']);
    const { messages, ...rest } = server.received[0]!.body;
    assert.equal((messages as { role: string }[])[0]!.role, 'user');
    assert.deepEqual(rest, {
      model: 'fake-model',
      max_completion_tokens: 6,
      stream: true,
      temperature: 0.5,
      ignore_eos: true,
      stream_options: { include_usage: true },
    });
  });

  test('trt', async () => {
    const flags = [...one, '--backend', 'trt', '--model', 'm'];
    const { text_input: text, ...rest } = (await bench(flags)).server.received[0]!.body;
    assert.equal(typeof text, 'string');
    const greedy = { accumulate_tokens: true, temperature: 1e-6, top_p: 1, max_tokens: 6, stream: true };
    assert.deepEqual(rest, { ...greedy, min_length: 6, end_id: 1048576 });
    const free = (await bench([...flags, '--disable-ignore-eos', '--temperature', '0.5'])).server.received[0]!.body;
    assert.deepEqual(free, { ...greedy, temperature: 0.5, text_input: free.text_input });
  });

  test('truss', async () => {
    const { server } = await bench([...one, '--backend', 'truss', '--model', 'm']);
    const { prompt, ...rest } = server.received[0]!.body;
    assert.equal(typeof prompt, 'string');
    assert.deepEqual(rest, { model: 'm', best_of: 1, max_tokens: 6, stream: true, temperature: 0, ignore_eos: true });
  });

  test('token ids for completions', async () => {
    for (const backend of ['sglang-oai', 'vllm']) {
      const { server } = await bench([...one, '--backend', backend, '--tokenize-prompt']);
      assert.equal((server.received[0]!.body.prompt as number[]).length, 6);
    }
  });

  test('sampling and log-probabilities', async () => {
    const sampling = ['--temperature', '0.7', '--top-p', '0.9'];
    const logprobs = ['--return-logprob', '--logprob-start-len', '0', '--top-logprobs-num', '2'];
    const more = ['--token-ids-logprob', '5', '6', '--return-routed-experts'];
    const native = (await bench([...one, ...sampling, ...logprobs, ...more])).server.received[0]!.body;
    assert.deepEqual(native, {
      text: native.text,
      sampling_params: { temperature: 0.7, top_p: 0.9, max_new_tokens: 6, ignore_eos: true },
      stream: true,
      return_logprob: true,
      logprob_start_len: 0,
      top_logprobs_num: 2,
      token_ids_logprob: [5, 6],
      return_routed_experts: true,
    });
    const chat = (await bench([...one, ...sampling, '--backend', 'vllm-chat'])).server.received[0]!.body;
    assert.deepEqual([chat.temperature, chat.top_p], [0.7, 0.9]);
  });

  test('--extra-request-body wins, and replaces whole values', async () => {
    const body = { sampling_params: { temperature: 1 }, stream: true };
    const { server } = await bench([...one, '--temperature', '0.5', '--extra-request-body', JSON.stringify(body)]);
    assert.deepEqual(server.received[0]!.body.sampling_params, { temperature: 1 });
  });

  test('headers and keys', async () => {
    const sent = async (flags: string[], environment: Record<string, string>) =>
      (await bench([...one, ...flags], undefined, { environment })).server.received[0]!.headers;
    assert.equal((await sent([], { OPENAI_API_KEY: 'k' })).authorization, 'Bearer k');
    assert.equal((await sent([], { API_KEY: 'raw' })).authorization, 'raw');
    assert.equal((await sent([], {})).authorization, undefined);
    const own = await sent(['--header', 'X-A=b=c', 'authorization=mine'], { OPENAI_API_KEY: 'k' });
    assert.deepEqual([own['x-a'], own.authorization], ['b=c', 'mine']);
    const { printed } = await bench([...one, '--header', 'authorization=secret']);
    assert.match(printed, /header=\['authorization=…'\]/);
    assert.doesNotMatch(printed, /secret/);
  });

  test('no password or key is printed or saved', async () => {
    const info = { api_key: 'pass1', admin_api_key: null, deep: [{ hf_password: 'pass2' }] };
    const body = ['--extra-request-body', '{"api_key": "pass3"}'];
    const { printed, warned, row, server } = await bench([...one, ...body], undefined, { info, user: 'me:pass4' });
    const [request] = server.received;
    assert.equal(request!.body.api_key, 'pass3');
    assert.equal(request!.headers.authorization, `Basic ${Buffer.from('me:pass4').toString('base64')}`);
    assert.doesNotMatch(printed + warned + JSON.stringify(row), /pass\d/);
    assert.equal((row.server_info as Record<string, unknown>).admin_api_key, null);
  });
});

describe('the run', () => {
  test('lengths come from the text where the server does not count', async () => {
    for (const backend of ['sglang-oai', 'vllm-chat']) {
      const { row } = await bench(['--backend', backend], () => 'no-usage');
      assert.deepEqual(row.output_len_sources, { server: 0, retokenized: 8 });
      assert.equal(row.total_output_tokens, row.total_output_tokens_retokenized);
      assert.ok((row.total_output_tokens as number) > 0);
    }
  });

  test('options and rates are shown as Python shows them', async () => {
    const { printed } = await bench(['--request-rate', '1000']);
    assert.match(printed, /^Traffic request rate: {20}1000\.0 {4}$/m);
    assert.match(printed, /^benchmark_args=Namespace\(backend='sglang', .*request_rate=1000\.0, .*\)$/m);
    assert.match(printed, /num_prompts=8, .*random_range_ratio=0\.0, apply_chat_template=False, /);
  });

  test('--max-concurrency holds, and waiting is reported apart', async () => {
    const { row, server } = await bench(['--max-concurrency', '2']);
    assert.equal(server.mostAtOnce, 2);
    assert.ok((row.peak_concurrent_requests as number) <= 2);
    assert.equal(row.max_concurrency, 2);
    assert.ok((row.mean_client_queue_ms as number) > 0);
  });

  test('warm-up: copies of the first request with at most 32 tokens; then the cache is flushed', async () => {
    const flags = ['--warmup-requests', '2', '--flush-cache', '--random-output', '50', '--random-range-ratio', '1'];
    const { row, server, printed } = await bench(flags);
    assert.equal(row.completed, 8);
    assert.equal(server.received.length, 10);
    assert.equal(server.flushes, 1);
    const lengths = server.received.map(
      ({ body }) => (body.sampling_params as { max_new_tokens: number }).max_new_tokens,
    );
    assert.deepEqual(lengths, [32, 32, ...Array(8).fill(50)]);
    assert.equal(server.received[0]!.body.text, server.received[2]!.body.text);
    assert.match(printed, /Starting warmup with 2 sequences\.\.\.\nWarmup completed with 2 sequences\. Starting main/);
  });

  test('a failed warm-up ends the run with its reason', async () => {
    await assert.rejects(
      bench(['--warmup-requests', '1'], () => 'error-event'),
      (error) => {
        assert.ok(error instanceof VitrineError);
        assert.equal(error.code, 'BENCH_FAILED');
        assert.match(error.message, /^Warmup failed - .* Error: the prompt is too long$/);
        return true;
      },
    );
  });

  test('the same seed sends the same requests, another seed others', async () => {
    const texts = async (seed: string) => {
      const { server } = await bench(['--seed', seed, '--max-concurrency', '1']);
      return server.received.map(({ body }) => body.text);
    };
    const first = await texts('5');
    assert.deepEqual(await texts('5'), first);
    assert.notDeepEqual(await texts('6'), first);
  });

  test('rows are appended, with the tag and the failures of each', async () => {
    const { server, row } = await bench(['--tag', 'first'], (index) => (index === 0 ? 'cut' : 'good'));
    assert.equal(row.tag, 'first');
    assert.equal(row.failed, 1);
    assert.equal(server.received.length, 8);
    assert.equal('errors' in row, false, 'details are there on request only');
  });

  test('an interrupt ends it: what was measured is reported and saved', async () => {
    const interrupt = new AbortController();
    const { row, printed, warned, failed } = await bench(
      ['--output-details', '--max-concurrency', '4'],
      (index) => (index < 2 ? 'good' : 'slow'),
      { interrupt: interrupt.signal, onServer: (server) => void abortWhenBusy(server, interrupt, 6) },
    );
    assert.equal(failed, 0);
    assert.equal(row.completed, 2);
    assert.equal(row.interrupted, 4);
    assert.equal((row.errors as string[]).filter((error) => error === 'not sent').length, 2);
    assert.match(printed, /Successful requests: +2 /);
    assert.match(warned, /Interrupted: the figures are those of 2 of 8 requests/);
  });

  test('accept length of a speculating server shares chat gaps among tokens', async () => {
    const info = { internal_states: [{ avg_spec_accept_length: 2.5 }] };
    const { row, printed } = await bench(['--backend', 'sglang-oai'], undefined, { info });
    assert.equal(row.accept_length, 2.5);
    assert.match(printed, /Accept length: +2\.50/);
  });

  test('--cache-report', async () => {
    for (const backend of ['sglang', 'sglang-oai', 'vllm-chat']) {
      const { row, printed } = await bench(['--backend', backend, '--cache-report']);
      assert.deepEqual(row.cache_report, {
        total_cached_tokens: 8 * 4,
        total_prompt_tokens: 8 * 7,
        cache_hit_rate: 4 / 7,
        requests_with_report: 8,
        requests_with_hit: 8,
      });
      assert.match(printed, /-Cache Hit Details-[\s\S]*Total cached tokens: +32[\s\S]*Cache hit rate \(%\): +57\.14/);
    }
    const { row, printed } = await bench(['--backend', 'vllm', '--cache-report'], () => 'no-usage');
    assert.equal(row.cache_report, null);
    assert.match(printed, /No answer told what was cached/);
    assert.equal('cache_report' in (await bench([])).row, false);
  });

  test('--request-timeout-sec: a stalled request fails alone', async () => {
    const flags = ['--request-timeout-sec', '0.3', '--output-details'];
    const { row, failed } = await bench(flags, (index) => (index % 2 === 0 ? 'good' : 'slow'));
    assert.equal(failed, 4);
    assert.equal(row.completed, 4);
    assert.deepEqual(row.errors_by_message, { 'no complete answer within 0.3 s (--request-timeout-sec)': 4 });
  });

  test('--print-requests', async () => {
    const { printed } = await bench(['--print-requests', '--num-prompts', '2']);
    assert.match(printed, /request 0 start: \d+ prompt tokens/);
    assert.match(printed, /request 1 end: \d\.\d{3} s, "Once upon/);
  });
});

/** Once `count` requests have come, of which the last hang. */
async function abortWhenBusy(server: FakeLlmServer, interrupt: AbortController, count: number): Promise<void> {
  while (server.received.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  setTimeout(() => interrupt.abort(), 20);
}

describe('--num-runs', () => {
  test('a row and a report for each run of one workload, then medians and spreads', async () => {
    const { saved, printed, warned, server, rows } = await bench(['--num-runs', '3', '--max-concurrency', '1']);
    assert.deepEqual(saved, rows);
    assert.deepEqual(
      saved.map(({ run, num_runs: all, completed }) => [run, all, completed]),
      [1, 2, 3].map((run) => [run, 3, 8]),
    );
    const texts = server.received.map(({ body }) => body.text);
    assert.deepEqual(texts.slice(8, 16), texts.slice(0, 8));
    assert.deepEqual(texts.slice(16), texts.slice(0, 8));
    assert.equal(printed.match(/= Serving Benchmark Result =/g)?.length, 3);
    assert.match(printed, /Run 3 of 3/);
    const values = saved.map((row) => row.output_throughput as number).sort((a, b) => a - b);
    const [min, median, max] = values.map((value) => value.toFixed(2));
    const line = printed.split('\n').find((text) => text.startsWith('output_throughput '))!;
    assert.deepEqual(line.split(/ +/).slice(1, 4), [median, min, max]);
    assert.match(line, / \d+\.\d\d %$/);
    assert.match(printed, /Summary of 3 runs\n/);
    assert.match(warned, /Runs after the first find their prompts in the server’s prefix cache.*--flush-cache/);
  });

  test('one warm-up; with --flush-cache the cache is emptied before each', async () => {
    const flags = ['--num-runs', '2', '--flush-cache', '--warmup-requests', '1', '--num-prompts', '2'];
    const { server, warned, printed } = await bench(flags);
    assert.equal(server.flushes, 2);
    assert.equal(server.received.length, 1 + 2 * 2);
    assert.equal(warned, '');
    assert.equal(printed.match(/Starting warmup/g)?.length, 1);
  });

  test('failures of every run count', async () => {
    const { failed, saved } = await bench(['--num-runs', '2'], (index) => (index % 8 === 0 ? 'cut' : 'good'));
    assert.equal(failed, 2);
    assert.deepEqual(
      saved.map((row) => row.failed),
      [1, 1],
    );
  });

  test('an interrupt in a later run keeps the rows so far, and what was measured of that run', async () => {
    const interrupt = new AbortController();
    const { saved, printed } = await bench(
      ['--num-runs', '4', '--max-concurrency', '4'],
      (index) => (index < 18 ? 'good' : 'slow'),
      {
        interrupt: interrupt.signal,
        onServer: (server) => void abortWhenBusy(server, interrupt, 22),
      },
    );
    assert.deepEqual(
      saved.map(({ run, completed, interrupted }) => [run, completed, interrupted]),
      [
        [1, 8, 0],
        [2, 8, 0],
        [3, 2, 4],
      ],
    );
    assert.match(printed, /Summary of 2 runs, without 1 that was cut short\n/);
  });

  test('options that change the requests are in the row', async () => {
    const path = join(folder, 'some.json');
    const { row } = await bench(['--disable-stream', '--extra-request-body', '{"x": 1}', '--seed', '4']);
    assert.deepEqual(row.workload_args, { disable_stream: true, extra_request_body: { x: 1 } });
    const { options } = parseArguments(BENCH_SERVING, ['--dataset-path', path], {});
    assert.deepEqual(workloadArguments(options), { dataset_path: 'some.json' });
  });

  test('one run has no summary', async () => {
    const { printed, row } = await bench([]);
    assert.doesNotMatch(printed, /Summary|Run 1/);
    assert.deepEqual([row.run, row.num_runs], [1, 1]);
  });
});

describe('goodput and steady state', () => {
  test('are in the report and in the row', async () => {
    const flags = [
      '--goodput',
      'ttft:60000',
      'e2el:0.001',
      '--steady-state',
      '--max-concurrency',
      '2',
      '--output-details',
    ];
    const { row, printed } = await bench(flags);
    assert.deepEqual(row.goodput_slos, { ttft: 60000, e2e: 0.001 });
    assert.deepEqual(row.goodput_attainment, { ttft: 1, e2e: 0 });
    assert.deepEqual([row.goodput, row.good_requests, row.good_share], [0, 0, 0]);
    assert.deepEqual(row.good, Array(8).fill(false));
    assert.match(
      printed,
      /-Goodput-+\nRequest goodput \(req\/s\): +0\.00 +\nRequests that meet all objectives: +0 \(0\.00 %\)/,
    );
    assert.match(printed, /\nTTFT within 60000 ms: +100\.00 % +\nE2E within 0\.001 ms: +0\.00 %/);
    const steady = row.steady_state as Record<string, number> & { window: [number, number]; goodput_slos: object };
    const [from, to] = steady.window;
    assert.ok(from > 0 && from < to && to < (row.duration as number));
    assert.ok(steady.requests! >= 2 && steady.requests! < 8);
    assert.ok(steady.output_throughput! > 0 && steady.median_ttft_ms! > 0 && steady.max_itl_ms! > 0);
    assert.ok(steady.concurrency! > 1 && steady.concurrency! <= 2);
    assert.deepEqual(steady.goodput_slos, { ttft: 60000, e2e: 0.001 });
    assert.match(printed, /-Steady State-+\nWindow \(s after the start\): +\d\.\d\d … \d\.\d\d/);
  });

  test('where there is no steady state the report and the row say why', async () => {
    const { row, printed } = await bench(['--steady-state']);
    assert.deepEqual(row.steady_state, { window: null, reason: 'all 8 requests were in flight at once' });
    assert.match(printed, /None: all 8 requests were in flight at once\./);
  });

  test('are absent when nobody asked', async () => {
    const { row } = await bench([]);
    assert.equal('goodput' in row || 'steady_state' in row, false);
  });

  test('wrong objectives and a profile of several runs are refused before anything is sent', async () => {
    await assert.rejects(bench(['--goodput', 'ttfb:5']), /--goodput: expected one of ttft/);
    await assert.rejects(
      bench(['--profile', '--num-runs', '2']),
      /--profile works with one run, not with --num-runs 2/,
    );
  });
});

describe('a row with details', () => {
  test('holds all that its figures are computed from', async () => {
    const kinds: Behaviour[] = ['good', 'cut', 'silent-first', 'no-usage', 'too-many', 'good', 'good', 'good'];
    const info = { internal_states: [{ avg_spec_accept_length: 2.5 }] };
    for (const backend of ['sglang', 'sglang-oai']) {
      const flags = ['--backend', backend, '--output-details', '--max-concurrency', '2', '--steady-state'];
      const { saved } = await bench([...flags, '--goodput', 'ttft:10', 'itl:4'], (index) => kinds[index]!, { info });
      const [row] = saved;
      const figures = computeFigures(savedRun(row!), {
        objectives: parseObjectives(['ttft:10', 'itl:4']),
        steadyState: true,
      });
      const { options } = parseArguments(BENCH_SERVING, flags, {});
      const again = resultRow({
        ...figures,
        options,
        workload: unscheduled([]),
        runNumber: 1,
        serverInfo: null,
      });
      const of = (given: object) =>
        Object.fromEntries(
          Object.entries(given)
            .filter(([key]) =>
              /_ms$|throughput|concurr|total_|goodput|good_|completed|failed|len_sources|steady|started/.test(key),
            )
            .map(([key, value]) => [key, rounded(value)]),
        );
      assert.deepEqual(of(again), of(row!));
      assert.ok(Object.keys(of(again)).length > 50);
    }
  });

  test('has the times of every request, also of those that failed', async () => {
    const { row } = await bench(['--output-details', '--max-concurrency', '1'], (index) =>
      index === 1 ? 'cut' : 'good',
    );
    const { starts, ends, arrivals, first_tokens: first } = row as unknown as RequestDetails;
    assert.deepEqual(row.statuses, ['ok', 'failed', ...Array(6).fill('ok')]);
    assert.deepEqual(row.request_indices, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(row.turns, Array(8).fill(0));
    assert.deepEqual(arrivals, Array(8).fill(0));
    for (let i = 0; i < 8; i++) {
      assert.ok(ends[i]! > starts[i]! && first[i]! > 0);
      if (i > 0) assert.ok(starts[i]! >= ends[i - 1]!);
    }
  });

  test('without them says so', async () => {
    const { row } = await bench([]);
    assert.throws(() => savedRun(row), /no times of single requests: save it with --output-details/);
  });
});

/** Numbers to nine digits: times are saved as differences from the start. */
function rounded(value: unknown): unknown {
  const text = JSON.stringify(value, (_, part) => (typeof part === 'number' ? Number(part.toPrecision(9)) : part));
  return JSON.parse(text);
}

describe('--profile', () => {
  const sglang: ProfileBehaviour = ({ path }) => ({
    body: path === '/start_profile' ? 'Start profiling.\n' : 'Stop profiling. This will take some time.\n',
  });
  const paths = (server: FakeLlmServer) => server.profileCalls.map(({ path }) => path);

  test('at a server like SGLang’s: start, run, stop, with its words', async () => {
    const environment = { SGLANG_TORCH_PROFILER_DIR: '/traces' };
    const { printed, warned, server, row } = await bench(['--profile'], undefined, { profile: sglang, environment });
    assert.equal(row.completed, 8);
    assert.equal(warned, '');
    assert.deepEqual(paths(server), ['/start_profile', '/stop_profile']);
    assert.deepEqual(server.profileCalls[0]!.body, {
      output_dir: '/traces',
      activities: ['CPU', 'GPU'],
      profile_by_stage: false,
    });
    const body = "{'output_dir': '/traces', 'activities': ['CPU', 'GPU'], 'profile_by_stage': False}";
    const lines = [
      'Starting profiler...',
      `async_request_profile api_url='${server.url}/start_profile' body=${body}`,
      'Profiler started',
      'Stopping profiler...',
      'Profiler stopped',
      '',
      '============ Serving Benchmark Result ============',
    ];
    assert.ok(printed.includes(lines.join('\n')), printed);
  });

  test('the duration holds neither start nor stop, however long they take', async () => {
    const calls: { readonly cameAt: number; readonly heldFor: number }[] = [];
    const started = monotonicSeconds();
    // Either answer is held for longer than all has taken until then: much longer than the run can have lasted.
    const profile: ProfileBehaviour = async (call) => {
      const cameAt = monotonicSeconds();
      while (monotonicSeconds() - cameAt <= cameAt - started) await new Promise((resolve) => setTimeout(resolve, 10));
      calls.push({ cameAt, heldFor: monotonicSeconds() - cameAt });
      return sglang(call);
    };
    const { row } = await bench(['--profile'], undefined, { profile });
    const [start, stop] = calls;
    const duration = row.duration as number;
    assert.ok(duration <= stop!.cameAt - (start!.cameAt + start!.heldFor), 'it lies between the two');
    assert.ok(duration < stop!.heldFor);
  });

  test('our own server names the files, also of a profile that ended by itself', async () => {
    const profile: ProfileBehaviour = ({ path }) => ({
      body: path === '/stop_profile' ? doneReport({ planned_steps: null }) : profileReport({ planned_steps: null }),
    });
    const { printed, warned, server } = await bench(['--profile'], undefined, { profile });
    assert.equal(warned, '');
    assert.deepEqual(paths(server), ['/start_profile', '/profile_status', '/stop_profile']);
    const ended: ProfileBehaviour = ({ path }) => {
      if (path === '/start_profile') return { body: profileReport({ planned_steps: null }) };
      if (path === '/stop_profile') return { status: 409, body: { message: 'nothing is being profiled' } };
      return { body: doneReport({ planned_steps: null, ended_by: 'max_seconds' }) };
    };
    const early = await bench(['--profile'], undefined, { profile: ended });
    assert.equal(early.warned, '');
    assert.match(early.printed, /Profiler stopped\n\/profiles\//);
    assert.match(printed, /Profiler stopped\n\/profiles\/.*-TP-0\.trace\.json\.gz: 5 steps \(11 to 15\), 678 events/);
  });

  test('counted steps get no stop; files are waited for, what is still armed is said', async () => {
    let asked = 0;
    const flushing: ProfileBehaviour = ({ path }) => {
      if (path === '/start_profile') return { body: profileReport() };
      asked += 1;
      return { body: asked < 3 ? profileReport({ state: 'flushing', recorded_steps: 5 }) : doneReport() };
    };
    const flags = ['--profile', '--profile-steps', '5', '--profile-start-step', '9', '--profile-prefix', 'x'];
    const { printed, server, warned } = await bench(flags, undefined, { profile: flushing });
    assert.equal(warned, '');
    assert.deepEqual(paths(server), ['/start_profile', ...Array(3).fill('/profile_status')]);
    const { num_steps: steps, start_step: first, profile_prefix: prefix } = server.profileCalls[0]!.body;
    assert.deepEqual([steps, first, prefix], [5, 9, 'x']);
    assert.doesNotMatch(printed, /Stopping profiler/);
    assert.match(printed, /-TP-0\.trace\.json\.gz: 5 steps/);
    const armed = await bench(['--profile', '--profile-num-steps', '5'], undefined, {
      profile: () => ({ body: profileReport({ state: 'recording', recorded_steps: 2 }) }),
    });
    assert.match(armed.warned, /still recording, 2 of 5 steps recorded: `curl -X POST http.*stop_profile` ends it/);
  });

  test('by stage: five steps each unless said otherwise', async () => {
    const flags = ['--profile', '--profile-by-stage', '--profile-stages', 'decode', '--profile-output-dir', '~/x'];
    const { server } = await bench([...flags, '--profile-activities', 'CPU'], undefined, { profile: sglang });
    assert.deepEqual(paths(server), ['/start_profile']);
    assert.deepEqual(server.profileCalls[0]!.body, {
      output_dir: '~/x',
      num_steps: 5,
      activities: ['CPU'],
      profile_by_stage: true,
      profile_stages: ['decode'],
    });
  });

  test('a failed start or stop is a warning with the server’s reason; the run goes on', async () => {
    const reason = { object: 'error', message: 'a profile is in progress' };
    const refused = await bench(['--profile'], undefined, { profile: () => ({ status: 409, body: reason }) });
    assert.equal(refused.row.completed, 8);
    assert.match(refused.warned, /^Failed to start profiler: .*HTTP 409 Conflict: a profile is in progress$/);
    assert.deepEqual(paths(refused.server), ['/start_profile']);
    const stopped = await bench(['--profile'], undefined, {
      profile: ({ path }) =>
        path === '/start_profile' ? { body: 'ok' } : { status: 500, body: 'Internal Server Error' },
    });
    assert.equal(stopped.row.completed, 8);
    assert.match(stopped.warned, /^Failed to stop profiler: .*HTTP 500/);
  });

  test('prefill and decode servers of their own', async () => {
    const workers = [await FakeLlmServer.start(undefined, {}, sglang), await FakeLlmServer.start()];
    try {
      const [good, bad] = workers.map(({ url }) => url);
      for (const [flag, kind] of [
        ['--profile-prefill-url', 'Prefill'],
        ['--profile-decode-url', 'Decode'],
      ] as const) {
        const flags = ['--profile', '--pd-separated', flag, `${good}/`, bad!];
        const { printed, warned, server, row } = await bench(flags, undefined, { profile: sglang });
        assert.equal(row.completed, 8);
        assert.deepEqual(paths(server), [], 'the server that gets the traffic is not profiled');
        assert.ok(printed.includes(`Profiler started for ${kind}-0 worker at ${good}\n`));
        assert.ok(printed.includes(`Stopping profiler...\nProfiler stopped for ${kind}-0 worker at ${good}\n`));
        assert.match(warned, new RegExp(`^Failed to start profiler for ${kind}-1 worker at ${bad}: .*HTTP 404`));
      }
      assert.deepEqual(paths(workers[0]!), ['/start_profile', '/stop_profile', '/start_profile', '/stop_profile']);
    } finally {
      for (const worker of workers) await worker.close();
    }
    const nowhere = await bench(['--profile', '--pd-separated'], undefined, { profile: sglang });
    assert.match(nowhere.warned, /PD separated mode requires --profile-prefill-url or --profile-decode-url/);
    assert.deepEqual(paths(nowhere.server), []);
  });

  test('flags that do nothing are warned about', async () => {
    const stages = await bench(['--profile', '--profile-stages', 'decode'], undefined, { profile: sglang });
    assert.match(stages.warned, /--profile-stages \(without --profile-by-stage\) has no effect/);
    assert.equal('profile_stages' in stages.server.profileCalls[0]!.body, false);
    const flags = ['--profile-num-steps', '3', '--pd-separated'];
    const { warned, server } = await bench(flags, undefined, { profile: sglang });
    assert.match(warned, /--profile-num-steps \(without --profile\) has no effect/);
    assert.match(warned, /--pd-separated \(without --profile\) has no effect/);
    assert.deepEqual(paths(server), []);
  });

  test('an interrupt still stops the profile', async () => {
    const interrupt = new AbortController();
    const { server, row } = await bench(['--profile', '--max-concurrency', '4'], (i) => (i < 2 ? 'good' : 'slow'), {
      profile: sglang,
      interrupt: interrupt.signal,
      onServer: (fake) => void abortWhenBusy(fake, interrupt, 6),
    });
    assert.equal(row.completed, 2);
    assert.deepEqual(paths(server), ['/start_profile', '/stop_profile']);
  });

  test('an interrupt also stops a profile whose counted steps will not come', async () => {
    const interrupt = new AbortController();
    const { server, printed } = await bench(
      ['--profile', '--profile-steps', '500', '--max-concurrency', '4'],
      (i) => (i < 2 ? 'good' : 'slow'),
      {
        profile: ({ path }) => ({ body: path === '/stop_profile' ? doneReport() : profileReport() }),
        interrupt: interrupt.signal,
        onServer: (fake) => void abortWhenBusy(fake, interrupt, 6),
      },
    );
    assert.deepEqual(paths(server), ['/start_profile', '/profile_status', '/stop_profile']);
    assert.match(printed, /Profiler stopped/);
  });

  test('an interrupt while it starts: the server may have it, so it is stopped', async () => {
    const interrupt = new AbortController();
    let server: FakeLlmServer | undefined;
    const profile: ProfileBehaviour = async ({ path }) => {
      if (path === '/start_profile') interrupt.abort();
      return { body: 'ok' };
    };
    const run = bench(['--profile'], undefined, {
      profile,
      interrupt: interrupt.signal,
      onServer: (fake) => {
        server = fake;
      },
    });
    await assert.rejects(run, { code: 'ABORTED', message: /before anything was measured/ });
    assert.deepEqual(paths(server!), ['/start_profile', '/stop_profile']);
  });
});

describe('refused before anything is sent', () => {
  const refused = (flags: string[], pattern: RegExp) =>
    assert.rejects(bench(flags), (error) => {
      assert.ok(error instanceof VitrineError);
      assert.equal(error.code, 'INVALID_OPTION');
      assert.match(error.message, pattern);
      return true;
    });

  test('combinations that make no sense', async () => {
    for (const backend of ['vllm-chat', 'lmdeploy', 'lmdeploy-chat']) {
      await refused(
        ['--tokenize-prompt', '--backend', backend],
        /--tokenize-prompt works with --backend sglang, sglang-oai and vllm, not with/,
      );
    }
    await refused(['--return-logprob', '--backend', 'vllm-chat'], /--return-logprob works with --backend sglang/);
    await refused(
      ['--return-routed-experts', '--backend', 'vllm'],
      /--return-routed-experts works with --backend sglang/,
    );
    await refused(['--top-logprobs-num', '2'], /--top-logprobs-num works with --return-logprob, not without it/);
    await refused(['--backend', 'trt'], /--model is required with --backend trt/);
    await refused(['--backend', 'truss'], /--model is required with --backend truss/);
    const trt = ['--backend', 'trt', '--model', 'm'];
    await refused([...trt, '--disable-stream'], /--disable-stream does not work with trt/);
    await refused([...trt, '--cache-report'], /--cache-report does not work with trt/);
    assert.throws(() => parseArguments(BENCH_SERVING, ['--backend', 'gserver'], {}), /--backend.*gserver/);
    await refused(['--apply-chat-template'], /--apply-chat-template works with --dataset-name sharegpt/);
    await refused(['--prompt-suffix', 'x'], /--prompt-suffix works with/);
    await refused(
      ['--profile', '--profile-prefill-url', 'http://a'],
      /--profile-prefill-url works with --pd-separated/,
    );
    const both = ['--profile-prefill-url', 'http://a', '--profile-decode-url', 'http://b'];
    await refused(['--profile', '--pd-separated', ...both], /--profile-decode-url .* not with --profile-prefill-url/);
    await refused(
      ['--profile', '--pd-separated', '--profile-decode-url', 'b:1'],
      /--profile-decode-url: expected an http/,
    );
    await refused(['--dataset-name', 'sharegpt', '--dataset-path', 'x', '--tokenize-prompt'], /not with sharegpt/);
  });

  test('addresses and headers', async () => {
    await refused(['--base-url', 'localhost:30000'], /--base-url: expected an http/);
    await refused(['--header', 'novalue'], /--header: expected Name=value, got 'novalue'/);
    const lines = bench([], undefined, { environment: { OPENAI_API_KEY: 'two\nlines' } });
    await assert.rejects(lines, { code: 'INVALID_OPTION', message: /^OPENAI_API_KEY: expected a value without/ });
    const { options } = parseArguments(BENCH_SERVING, ['--host', 'no host'], {});
    assert.throws(() => httpTarget(options, {}), { code: 'INVALID_OPTION', message: /^--host: expected an http/ });
    await refused(['--header', 'X-Key=schlüssel€'], /--header X-Key: expected a value without .*Latin-1/);
    await refused(['--base-url', 'http://127.0.0.1:1/?a=b'], /--base-url: expected .* without \? and #/);
    await refused(['--output-file', '/dev/null/x.jsonl'], /--output-file .*results cannot be written there/);
    await refused(['--output-file', folder], /it is a folder/);
    await refused(['--dataset-path', '/nonexistent.json'], /--dataset-path \/nonexistent\.json: ENOENT/);
  });
});

describe('finding the server', () => {
  const failing = (flags: string[], code: string, pattern: RegExp) =>
    assert.rejects(bench(flags), (error) => {
      assert.ok(error instanceof VitrineError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, pattern);
      return true;
    });

  async function withServer(status: () => number, body: string, use: (url: string) => Promise<void>): Promise<void> {
    const server = createServer((_, response) => response.writeHead(status()).end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  test('nobody there', async () => {
    let url = '';
    await withServer(
      () => 200,
      '',
      async (address) => {
        url = address;
      },
    );
    await failing(
      ['--base-url', url, '--ready-timeout-sec', '0'],
      'NOT_READY',
      /No server at http.*ECONNREFUSED.*waited 0 s/,
    );
  });

  test('a wrong key, a wrong address', async () => {
    await withServer(
      () => 401,
      '{}',
      (url) => failing(['--base-url', url], 'UNAUTHORIZED', /refuses the API key.*OPENAI_API_KEY/),
    );
    await withServer(
      () => 404,
      'no such page',
      (url) => failing(['--base-url', url], 'BENCH_FAILED', /names no model \(HTTP 404\): is this the address/),
    );
  });

  test('HTTPS to a server without it', () =>
    withServer(
      () => 200,
      '{}',
      (url) =>
        failing(
          ['--base-url', url.replace('http:', 'https:'), '--ready-timeout-sec', '0'],
          'NOT_READY',
          /No server at https:\S+: no TLS connection \([^\n]+\); waited 0 s/,
        ),
    ));

  test('an interrupt ends the wait', async () => {
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 30);
    await withServer(
      () => 503,
      '',
      (url) =>
        assert.rejects(bench(['--base-url', url], undefined, { interrupt: interrupt.signal }), (error) => {
          assert.equal((error as VitrineError).code, 'ABORTED');
          return true;
        }),
    );
  });

  test('a server that is still loading is waited for', async () => {
    let asked = 0;
    const status = () => {
      asked += 1;
      return asked < 3 ? 503 : 404;
    };
    await withServer(status, '', (url) => failing(['--base-url', url], 'BENCH_FAILED', /HTTP 404/));
    assert.equal(asked, 3);
  });
});

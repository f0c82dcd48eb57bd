// bench-one-batch-server against scripted answers: what is sent, what is measured, what is left out and what goes wrong.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CasePrompts } from '#vitrine/bench/one-batch-server/case-prompts.js';
import { benchOneBatchServer } from '#vitrine/bench/one-batch-server/one-batch-server.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_ONE_BATCH_SERVER } from '#vitrine/config/programs.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { type BatchScript, BatchServer, nativeEnd, nativeEvent } from '../support/batch-server.js';
import { doneReport, profileReport } from '../support/profile-reports.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const MODEL = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

interface Run {
  readonly printed: string;
  readonly warned: string;
  readonly server: BatchServer;
  readonly failed: number;
  readonly rows: Record<string, unknown>[];
  readonly error: VitrineError | undefined;
}

const parse = (flags: readonly string[]) => parseArguments(BENCH_ONE_BATCH_SERVER, flags, {}).options;

async function run(
  t: TestContext,
  flags: readonly string[],
  script: BatchScript = {},
  given: { environment?: Record<string, string>; interrupt?: AbortSignal } = {},
): Promise<Run> {
  const server = await BatchServer.start(t, script);
  const file = join(await temporaryDirectory(t), 'rows.jsonl');
  const fixed = ['--base-url', server.url, '--model', MODEL, '--result-filename', file, '--skip-warmup'];
  const printed: string[] = [];
  const warned: string[] = [];
  let failed = 0;
  let error: VitrineError | undefined;
  try {
    ({ failed } = await benchOneBatchServer(parse([...fixed, ...flags]), {
      output: { print: (line) => printed.push(line), warn: (line) => warned.push(line) },
      notice: { update: () => {}, end: () => {} },
      interrupt: given.interrupt ?? new AbortController().signal,
      environment: given.environment ?? {},
    }));
  } catch (thrown) {
    assert.ok(thrown instanceof VitrineError, String(thrown));
    error = thrown;
  }
  const text = await readFile(file, 'utf8').catch(() => '');
  const rows = text.split('\n').filter((line) => line !== '');
  const parsed = rows.map((row) => JSON.parse(row) as Record<string, unknown>);
  return { printed: printed.join('\n'), warned: warned.join('\n'), server, failed, rows: parsed, error };
}

const SMALL = ['--batch-size', '2', '--input-len', '6', '--output-len', '4'];

describe('a case', () => {
  test('is one request with SGLang’s fields, after an emptied cache', async (t) => {
    const flags = ['--temperature', '0.5', '--return-logprob', '--client-stream-interval', '3', '--parallel-batch'];
    const { server, error } = await run(t, [...SMALL, ...flags, '--api-key', 'k', '--admin-api-key', 'a']);
    assert.equal(error, undefined);
    assert.deepEqual(server.paths, ['/flush_cache', '/generate']);
    assert.equal(server.calls[0]!.authorization, 'Bearer a');
    const { body, authorization } = server.calls[1]!;
    assert.equal(authorization, 'Bearer k');
    const { input_ids: ids, ...rest } = body;
    assert.deepEqual(
      (ids as number[][]).map((prompt) => prompt.length),
      [6, 6],
    );
    assert.deepEqual(rest, {
      sampling_params: { temperature: 0.5, max_new_tokens: 4, ignore_eos: true, stream_interval: 3 },
      return_logprob: true,
      stream: true,
      parallel_batch: true,
    });
    const { server: plain } = await run(t, SMALL);
    assert.ok(!('parallel_batch' in plain.calls[1]!.body));
  });

  test('has the same prompts in every sweep, others with another seed, and no special tokens', async (t) => {
    const prompts = ({ server }: Run, i: number) => server.generations[i]!.body.input_ids as number[][];
    const alone = await run(t, SMALL);
    const second = await run(t, ['--batch-size', '1', '2', '--input-len', '6', '--output-len', '4']);
    assert.deepEqual(prompts(second, 1), prompts(alone, 0));
    const other = await run(t, [...SMALL, '--seed', '1']);
    assert.notDeepEqual(prompts(other, 0), prompts(alone, 0));
    assert.notDeepEqual(prompts(alone, 0)[0], prompts(alone, 0)[1]);
    const long = await run(t, ['--input-len', '3000', '--output-len', '1']);
    assert.ok(prompts(long, 0)[0]!.every((id) => id > 2 && id < 512));
  });

  test('the figures and the keys of SGLang', async (t) => {
    const { rows, printed } = await run(t, [...SMALL, '--run-name', 'mine']);
    const [row] = rows as [Record<string, number>];
    assert.deepEqual(Object.keys(row), [
      ...['run_name', 'batch_size', 'input_len', 'output_len', 'latency', 'input_throughput', 'output_throughput'],
      ...['overall_throughput', 'last_ttft', 'last_gen_throughput', 'acc_length', 'cache_hit_rate'],
    ]);
    assert.deepEqual([row.run_name, row.batch_size, row.input_len, row.output_len], ['mine', 2, 6, 4]);
    assert.equal(row.last_gen_throughput, 123.46);
    assert.equal(row.acc_length, -1);
    assert.equal(row.cache_hit_rate, null);
    const lines = printed.slice(printed.indexOf('batch size:')).split('\n');
    const patterns = [
      ...[/^batch size: 2$/, /^input_len: 6$/, /^output_len: 4$/, /^latency: \d+\.\d\d s$/],
      ...[/^input throughput: \d+\.\d\d tok\/s$/, /^output throughput: \d+\.\d\d tok\/s$/, /^last_ttft: \d+\.\d\d s$/],
      /^last generation throughput: 123\.46 tok\/s$/,
    ];
    patterns.forEach((pattern, i) => {
      assert.match(lines[i]!, pattern);
    });
    assert.match(printed, /\nResults are saved to .*rows\.jsonl$/);
  });

  test('throughputs follow from latencies; an output of one token has no decode throughput', async (t) => {
    const directory = await temporaryDirectory(t);
    const file = join(directory, 'list.json');
    const flags = ['--batch-size', '3', '--input-len', '5', '--output-len', '4', '1'];
    const { printed } = await run(t, [...flags, '--pydantic-result-filename', file], {
      answer: ({ body }) => {
        const tokens = (body.sampling_params as { max_new_tokens: number }).max_new_tokens;
        const ends = [0, 1, 2].map((i) => nativeEnd(i, tokens));
        return tokens === 1 ? [20, ...ends] : [20, ...[0, 1, 2].map((i) => nativeEvent(i, 1)), 20, ...ends];
      },
    });
    const [long, short] = JSON.parse(await readFile(file, 'utf8')) as Record<string, number>[];
    const close = (actual: number, expected: number) => assert.ok(Math.abs(actual / expected - 1) < 1e-9);
    close(long!.input_throughput!, (3 * 5) / long!.last_ttft!);
    close(long!.output_throughput!, (3 * 4) / (long!.latency! - long!.last_ttft!));
    close(long!.overall_throughput!, (3 * (5 + 4)) / long!.latency!);
    assert.equal(long!.profile_link, null);
    assert.equal(short!.output_throughput, null);
    assert.equal(printed.match(/output throughput/g)!.length, 1);
  });

  test('last_ttft is of the slowest sequence, also where its first chunk has several tokens', async (t) => {
    const { rows } = await run(t, SMALL, {
      answer: () => [nativeEvent(0, 1), nativeEvent(1, 0), 60, nativeEvent(1, 3), 20, nativeEnd(1, 4), nativeEnd(0, 4)],
    });
    const { last_ttft: ttft, latency } = rows[0] as { last_ttft: number; latency: number };
    assert.ok(ttft >= 0.055, `${ttft}: the other sequence was first`);
    assert.ok(ttft < latency);
  });

  test('the accept length of speculative decoding is printed and saved', async (t) => {
    const state = { memory_usage: { token_capacity: 99 }, effective_max_running_requests_per_dp: 2 };
    const info = { internal_states: [{ ...state, avg_spec_accept_length: 2.534 }] };
    const { rows, printed } = await run(t, SMALL, { info });
    assert.equal(rows[0]!.acc_length, 2.53);
    assert.equal(rows[0]!.last_gen_throughput, -1);
    assert.match(printed, /^acc_length: 2\.53 $/m);
  });
});

describe('what goes wrong', () => {
  const failing = async (t: TestContext, answer: BatchScript['answer'], pattern: RegExp) => {
    const { error, warned, rows } = await run(t, SMALL, { answer: answer! });
    assert.equal(error?.code, 'BENCH_FAILED');
    assert.match(error.message, /Every case failed/);
    assert.match(warned, pattern);
    assert.deepEqual(rows, []);
  };
  const stop = { finish_reason: { type: 'stop', matched: 2 } };

  test('sequences that do not reach their length', async (t) => {
    await failing(
      t,
      () => [nativeEnd(0, 4), nativeEvent(1, 3, stop)],
      /\(2, 6, 4\): The request failed: sequence 1 ended after 3 of 4 tokens with finish reason stop/,
    );
    await failing(t, () => [nativeEnd(0, 4), nativeEnd(1, 3)], /sequence 1 ended after 3 of 4 tokens/);
    await failing(t, () => [nativeEnd(0, 4)], /without a finish reason of sequence 1/);
    const abort = { finish_reason: { type: 'abort', message: 'out of memory' } };
    await failing(t, () => [nativeEvent(0, 1, abort)], /aborted: out of memory/);
  });

  test('errors of the server, in its words', async (t) => {
    await failing(t, () => 429, /HTTP 429 Too Many Requests: no/);
    await failing(t, () => [nativeEvent(0, 1), { error: { message: 'lost' } }], /The request failed: lost/);
    await failing(t, () => [nativeEnd(7, 4)], /sequence 7 of 2/);
  });

  test('a failed case does not end the sweep, and is counted', async (t) => {
    const { failed, rows, error } = await run(t, ['--batch-size', '1', '2', '3', '--output-len', '2'], {
      answer: ({ body }) => {
        const prompts = body.input_ids as unknown[];
        return prompts.length === 2 ? 500 : prompts.map((_, i) => nativeEnd(i, 2));
      },
    });
    assert.equal(error, undefined);
    assert.equal(failed, 1);
    assert.deepEqual(
      rows.map((row) => row.batch_size),
      [1, 3],
    );
  });

  test('a cache that cannot be emptied at once is asked for again; a refusal for good is an error', async (t) => {
    const { server, error } = await run(t, SMALL, { flushes: [400, 400] });
    assert.equal(error, undefined);
    assert.equal(server.paths.filter((path) => path === '/flush_cache').length, 3);
    const { warned } = await run(t, SMALL, { flushes: [500] });
    assert.match(warned, /POST .*\/flush_cache: HTTP 500/);
  });

  test('a server that does not tell its limits, and none at all', async (t) => {
    const { error } = await run(t, SMALL, { info: { internal_states: [{}] } });
    assert.match(error!.message, /effective_max_running_requests_per_dp above 0 .* got undefined/);
    const { error: none } = await run(t, SMALL, { info: null });
    assert.match(none!.message, /GET .*\/server_info: HTTP 404/);
    const { error: silent } = await run(t, ['--base-url', 'http://127.0.0.1:1', '--ready-timeout-sec', '0']);
    assert.equal(silent!.code, 'NOT_READY');
  });

  test('an interruption keeps what was measured', async (t) => {
    const interrupt = new AbortController();
    const { rows, error, printed } = await run(
      t,
      ['--batch-size', '1', '2', '--output-len', '2', '--show-report'],
      {
        answer: ({ body }) => {
          const prompts = body.input_ids as unknown[];
          if (prompts.length === 1) return [nativeEnd(0, 2)];
          interrupt.abort();
          return [10_000];
        },
      },
      { interrupt: interrupt.signal },
    );
    assert.equal(error!.code, 'ABORTED');
    assert.match(error!.message, /Interrupted: 1 of 2 cases/);
    assert.equal(rows.length, 1);
    assert.match(printed, /\| batch size \|/);
  });
});

describe('cases that do not fit', () => {
  test('are left out with SGLang’s words', async (t) => {
    const { printed, rows, server } = await run(t, ['--batch-size', '1', '16', '17', '--input-len', '1240', '6000']);
    assert.match(printed, /^max_running_requests_per_dp=16\ndp_size=1\nskip_max_running_requests_threshold=16\n/);
    assert.match(printed, /^skip_token_capacity_threshold=20000$/m);
    const capacity = /^========Skip benchmark batch_size=16 \* \(input_len=1240 \+ output_len=16\) = 20096 > /m;
    assert.match(printed, capacity);
    assert.match(printed, /20096 > skip_token_capacity_threshold=20000 due to kv cache limit\.========$/m);
    assert.match(
      printed,
      /\(input_len=6000 \+ output_len=16\) = 6016 > context_length=4096 due to context length limit/,
    );
    assert.deepEqual(
      rows.map((row) => [row.batch_size, row.input_len]),
      [[1, 1240]],
    );
    assert.equal(server.generations.length, 1);
    const many = await run(t, ['--batch-size', '17', '--input-len', '10']);
    const limit =
      /batch_size=17 > skip_max_running_requests_threshold=16 due to max running requests limit\.========$/m;
    assert.match(many.printed, limit);
    assert.match(many.error!.message, /No case fits/);
  });

  test('whole blocks count, and all replicas', async (t) => {
    const { printed } = await run(t, ['--batch-size', '16', '--input-len', '1200'], { info: { page_size: 256 } });
    assert.match(printed, /batch_size=16 \* .* = 20480 in blocks of 256 > skip_token_capacity_threshold=20000/);
    const state = { memory_usage: { token_capacity: 20_000 }, effective_max_running_requests_per_dp: 16 };
    const info = { dp_size: 2, internal_states: [state, state] };
    const { rows } = await run(t, ['--batch-size', '32', '--input-len', '1200'], { info });
    assert.equal(rows.length, 1);
  });

  test('the warm-up runs each batch size once, no longer than the context', async (t) => {
    const server = await BatchServer.start(t, { info: { context_length: 512 } });
    const flags = ['--base-url', server.url, '--model', MODEL, '--batch-size', '2', '1', '2', '--input-len', '4'];
    const printed: string[] = [];
    await benchOneBatchServer(parse([...flags, '--result-filename', '']), {
      output: { print: (line) => printed.push(line), warn: () => {} },
      notice: { update: () => {}, end: () => {} },
      interrupt: new AbortController().signal,
      environment: {},
    });
    const begin = printed.indexOf('======== Warmup Begin ========');
    assert.equal(printed[begin + 1], 'Warmup with batch_size=[2, 1]');
    assert.ok(printed.includes('======== Warmup End   ========\n'));
    const shapes = server.generations.map(({ body }) => {
      const prompts = body.input_ids as number[][];
      return [prompts.length, prompts[0]!.length];
    });
    assert.deepEqual(shapes, [
      [2, 496],
      [1, 496],
      [2, 4],
      [1, 4],
      [2, 4],
    ]);
  });
});

describe('the prefix cache', () => {
  const FLAGS = ['--batch-size', '2', '--input-len', '10', '--output-len', '3', '--cache-hit-rate', '0.55'];

  test('is filled with the beginnings of the prompts; the rate is the server’s of this request', async (t) => {
    const counts = { prompt_tokens: 10, cached_tokens: 4 };
    const { server, rows, printed } = await run(t, FLAGS, {
      answer: ({ body }) => {
        const tokens = (body.sampling_params as { max_new_tokens: number }).max_new_tokens;
        return [0, 1].map((i) => nativeEnd(i, tokens, counts));
      },
    });
    const [fill, timed] = server.generations;
    const prompts = timed!.body.input_ids as number[][];
    assert.deepEqual(
      fill!.body.input_ids,
      prompts.map((ids) => ids.slice(0, 5)),
    );
    assert.equal((fill!.body.sampling_params as { max_new_tokens: number }).max_new_tokens, 1);
    assert.deepEqual(server.paths, ['/flush_cache', '/generate', '/generate']);
    assert.equal(rows[0]!.cache_hit_rate, 0.4);
    assert.match(printed, /^Warming up cache with 55\.0% hit rate \(5 tokens per request\)\nCache warmup completed$/m);
    assert.match(printed, /^cache hit rate: 0\.4000$/m);
  });

  test('otherwise the rate is that of the counters', async (t) => {
    const scrape = (cached: number, prompt: number) =>
      [
        '# TYPE sglang:prompt_tokens_total counter',
        `sglang:prompt_tokens_total{model_name="a b",tp_rank="0"} ${prompt}`,
        `sglang:prompt_tokens_total{model_name="a b",tp_rank="1"} 0.0`,
        ...(cached > 0 ? [`sglang:cached_tokens_total{model_name="a b"} ${cached}.0`] : []),
        'sglang:cached_tokens_total_created 99',
      ].join('\n');
    const { rows } = await run(t, FLAGS, { metrics: [scrape(0, 10), scrape(5, 30)] });
    assert.equal(rows[0]!.cache_hit_rate, 0.25);
  });

  test('groups share a system prompt', async (t) => {
    const lengths = ['--gsp-system-prompt-len', '7', '--gsp-question-len', '3', '--gsp-output-len', '2'];
    const flags = ['--dataset-name', 'generated-shared-prefix', '--gsp-num-groups', '2', '--batch-size', '4'];
    const { server, rows } = await run(t, [...flags, ...lengths]);
    const prompts = server.generations[0]!.body.input_ids as number[][];
    const systems = prompts.map((ids) => ids.slice(0, 7).join());
    assert.equal(new Set(systems).size, 2);
    assert.equal(systems[0], systems[2]);
    assert.equal(new Set(prompts.map((ids) => ids.slice(7).join())).size, 4);
    assert.deepEqual([rows[0]!.input_len, rows[0]!.output_len], [10, 2]);
  });
});

test('--backend vllm: sequences may end in an event in which others go on', async (t) => {
  const choice = (index: number, reason: string | null) => ({ index, text: 'x', finish_reason: reason });
  const answer = () => [
    { choices: [choice(0, null), choice(1, null)] },
    { choices: [choice(0, 'length'), choice(1, null)] },
    { choices: [choice(1, 'length')] },
    { choices: [], usage: { prompt_tokens: 12, completion_tokens: 8 } },
  ];
  const { rows, warned } = await run(t, [...SMALL, '--backend', 'vllm'], { answer });
  assert.equal(warned, '');
  assert.equal(rows.length, 1);
});

test('--backend vllm: completions, its own way to empty the cache, no limits', async (t) => {
  const flags = ['--backend', 'vllm', '--batch-size', '50', '--input-len', '3', '--output-len', '2'];
  const metrics = (hits: number, queries: number) =>
    `vllm:prefix_cache_queries_total{engine="0"} ${queries}\nvllm:prefix_cache_hits_total{engine="0"} ${hits}\n`;
  const { server, rows, error } = await run(t, [...flags, '--return-logprob'], {
    info: null,
    metrics: [metrics(1, 10), metrics(31, 110)],
  });
  assert.equal(error, undefined);
  assert.deepEqual(server.paths, ['/reset_prefix_cache', '/v1/completions']);
  const { prompt, ...body } = server.generations[0]!.body;
  assert.equal((prompt as unknown[]).length, 50);
  assert.deepEqual(body, {
    model: 'served',
    max_tokens: 2,
    temperature: 0,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
    logprobs: 1,
  });
  assert.equal(rows[0]!.last_gen_throughput, -1);
  assert.equal(rows[0]!.cache_hit_rate, 0.3);
  const missing = await run(t, flags, { info: null, flushes: [404] });
  assert.match(missing.warned, /VLLM_SERVER_DEV_MODE=1/);
});

test('--show-report: a Markdown table by input length, with the cost of GPUs', async (t) => {
  const sweep = ['--batch-size', '1', '2', '--input-len', '30', '4', '--output-len', '2', '--show-report'];
  const summary = join(await temporaryDirectory(t), 'summary.md');
  const environment = { GITHUB_STEP_SUMMARY: summary };
  const info = { device: 'cuda', device_name: 'NVIDIA B200', tp_size: 2 };
  const { printed } = await run(t, sweep, { info }, { environment });
  const lines = printed.split('\n').filter((line) => line.startsWith('|'));
  const cells = lines.map((line) => line.split('|').map((cell) => cell.trim()));
  assert.deepEqual(cells[0]!.slice(1, -1), [
    ...['batch size', 'input len', 'latency (s)', 'input throughput (tok/s)', 'output throughput (tok/s)'],
    ...['acc length', 'ITL (ms)', 'input cost ($/1M)', 'output cost ($/1M)', 'cache hit rate'],
  ]);
  assert.match(lines[1]!, /^\|(-+:\|)+$/);
  assert.deepEqual(
    cells.slice(2).map((row) => row.slice(1, 3)),
    [
      ['1', '4'],
      ['2', '4'],
      ['1', '30'],
      ['2', '30'],
    ],
  );
  const [, , , , input, output, , itl, inputCost, outputCost] = cells[2]!.map(Number) as number[];
  const near = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) <= 0.006, `${actual}`);
  near(itl!, 1000 / output!);
  near(inputCost!, (1e6 / (input! * 0.7) / 3600) * 8);
  near(outputCost!, (1e6 / output! / 3600) * 8);
  assert.match(printed, /^Input lens: \(30, 4\)\. Output lens: \(2,\)\.$/m);
  assert.ok((await readFile(summary, 'utf8')).includes(lines.join('\n')));

  const none = ['--no-append-to-github-summary', '--batch-size', '1', '--show-report'];
  const cpu = await run(
    t,
    none,
    { info: { device: 'cpu' } },
    { environment: { GITHUB_STEP_SUMMARY: '/nonexistent/x' } },
  );
  assert.equal(cpu.error, undefined);
  assert.match(cpu.printed, /\| +n\/a \| +n\/a \| +n\/a \|$/m);
  const priced = await run(t, [...none, '--gpu-hourly-cost', '1'], { info: { device: 'cpu' } });
  assert.doesNotMatch(priced.printed, /\| +n\/a \| +n\/a \| +n\/a \|$/m);
});

test('prompts that share prefixes have the length of the case, also of a short warm-up', async () => {
  const flags = ['--dataset-name', 'generated-shared-prefix', '--gsp-question-len', '6', '--base-url', 'http://x'];
  const prompts = new CasePrompts(parse(flags), await Tokenizer.load(MODEL));
  for (const inputLen of [4, 6, 10]) {
    const [first, second] = await prompts.of({ batchSize: 2, inputLen, outputLen: 1 });
    assert.deepEqual([first!.length, second!.length], [inputLen, inputLen]);
    assert.deepEqual(first!.slice(0, -6), second!.slice(0, -6));
  }
});

test('--profile: a folder that cannot be made is told by its flag, and the results stay', async (t) => {
  const file = join(await temporaryDirectory(t), 'file');
  await writeFile(file, '');
  const { rows, error } = await run(t, [...SMALL, '--profile', '--profile-output-dir', join(file, 'x')]);
  assert.equal(error!.param, '--profile-output-dir');
  assert.match(error!.message, /^--profile-output-dir .*EEXIST/);
  assert.equal(rows.length, 1);
});

test('--profile: each case again, recorded, in no result', async (t) => {
  const directory = await temporaryDirectory(t);
  const list = join(directory, 'list.json');
  const bodies: string[] = [];
  const flags = ['--profile', '--profile-steps', '2', '--profile-by-stage', '--profile-prefix', 'my-'];
  const files = ['--profile-output-dir', directory, '--pydantic-result-filename', list, '--show-report'];
  const { server, rows, printed, error } = await run(t, ['--batch-size', '1', '2', ...flags, ...files], {
    profile: (path) => {
      bodies.push(path);
      return path === '/start_profile' ? profileReport() : doneReport();
    },
  });
  assert.equal(error, undefined);
  const once = ['/flush_cache', '/start_profile', '/generate', '/profile_status'];
  assert.deepEqual(server.paths, ['/flush_cache', '/generate', '/flush_cache', '/generate', ...once, ...once]);
  assert.equal(rows.length, 2);
  const starts = server.calls.filter(({ path }) => path === '/start_profile').map(({ body }) => body);
  assert.deepEqual(
    starts.map(({ profile_prefix: prefix }) => prefix),
    ['my-bs-1-il-1024', 'my-bs-2-il-1024'],
  );
  const { output_dir: folder, profile_prefix: _, ...rest } = starts[0]!;
  assert.ok((folder as string).startsWith(`${directory}/`));
  const expected = { num_steps: 2, activities: ['CPU', 'GPU'], profile_by_stage: true, merge_profiles: false };
  assert.deepEqual(rest, expected);
  assert.match(printed, /\/profiles\/.*-TP-0\.trace\.json\.gz: 5 steps/);
  assert.ok(printed.includes(`[Profile](${String(folder)})`));
  const links = (JSON.parse(await readFile(list, 'utf8')) as { profile_link: string }[]).map((row) => row.profile_link);
  assert.equal(links[0], folder);
});

describe('flags', () => {
  const refused = async (flags: readonly string[], pattern: RegExp) => {
    const deps = { output: { print: () => {}, warn: () => {} }, notice: { update: () => {}, end: () => {} } };
    const rest = { interrupt: new AbortController().signal, environment: {} };
    await assert.rejects(
      async () => benchOneBatchServer(parse([...flags, '--result-filename', '']), { ...deps, ...rest }),
      (error) => error instanceof VitrineError && error.code === 'INVALID_OPTION' && pattern.test(error.message),
      flags.join(' '),
    );
  };

  test('that make no sense are refused', async () => {
    await refused([], /--model-path is required, to launch a server/);
    await refused(['--model', 'm', '--backend', 'vllm'], /--backend: vllm works with --base-url/);
    const vllm = ['--backend', 'vllm', '--base-url', 'http://127.0.0.1:1'];
    await refused([...vllm, '--client-stream-interval', '2'], /--client-stream-interval: works with --backend sglang/);
    await refused([...vllm, '--parallel-batch'], /--parallel-batch: works with/);
    await refused([...vllm, '--profile'], /--profile: works with/);
    await refused(['--base-url', 'localhost:3'], /--base-url: expected an http/);
    await refused(['--dataset-name', 'mmmu'], /--dataset-name: 'mmmu' is multimodal/);
    await refused(['--input-len-step-percentage', '0.1'], /an SGLang option that Vitrine does not support/);
    await refused(['--cache-hit-rate', '1.5'], /--cache-hit-rate: expected a number from 0 to 1/);
    await refused(['--profile-prefix', 'a/b', '--model', 'm'], /--profile-prefix: expected letters/);
  });

  test('of a launched server have no effect with --base-url, and profile flags none without --profile', async (t) => {
    const flags = ['--page-size', '8', '--no-enable-mixed-chunk', '--port', '1', '--served-model-name', 's'];
    const { warned } = await run(t, [...SMALL, ...flags, '--profile-steps', '2']);
    const server = warned.split('\n').filter((line) => line.endsWith('has no effect with --base-url'));
    const names = server.map((line) => line.split(' ')[0]);
    assert.deepEqual(names, ['--page-size', '--enable-mixed-chunk', '--port']);
    assert.match(warned, /\(without --profile\) has no effect/);
  });

  test('--server-args-for-metrics is copied', async (t) => {
    const { rows } = await run(t, [...SMALL, '--server-args-for-metrics', 'tp=2', 'fp8']);
    assert.deepEqual(rows[0]!.server_args_for_metrics, ['tp=2', 'fp8']);
  });
});

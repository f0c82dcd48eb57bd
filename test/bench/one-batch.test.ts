// bench-one-batch on a real engine: what is computed, printed and saved.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { LatencyRow } from '#vitrine/bench/one-batch/latency-test.js';
import { benchOneBatch } from '#vitrine/bench/one-batch/one-batch.js';
import { StaticBatch } from '#vitrine/bench/one-batch/static-batch.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_ONE_BATCH, LAUNCH_SERVER } from '#vitrine/config/programs.js';
import { ModelRunner } from '#vitrine/engine/model-runner.js';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { loadAddon } from '#vitrine/native/load.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { silentLog } from '#vitrine/util/log.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf, traceProblems } from '../support/trace-checker.js';

const MODEL = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

interface Run {
  readonly rows: readonly LatencyRow[];
  readonly lines: readonly string[];
}

async function run(
  flags: readonly string[],
  environment: Record<string, string> = {},
  onLine: (line: string, interrupt: AbortController) => void = () => {},
): Promise<Run> {
  const fixed = ['--model-path', MODEL, '--result-filename', '', '--cpu-threads', '2', '--random-seed', '1'];
  const { options } = parseArguments(BENCH_ONE_BATCH, [...fixed, ...flags], {});
  const lines: string[] = [];
  const interrupt = new AbortController();
  const print = (line: string) => {
    lines.push(...line.split('\n'));
    onLine(line, interrupt);
  };
  const output = { print, warn: (line: string) => void lines.push(line) };
  const deps = { addon: loadAddon(), output, log: silentLog, interrupt: interrupt.signal, environment };
  const rows = await benchOneBatch(options, deps);
  return { rows, lines };
}

test('a static batch computes what transformers computes', async () => {
  const reference = JSON.parse(await readFile(join(MODEL, 'reference.json'), 'utf8'));
  const cases = (reference.cases as { prompt_ids: number[]; greedy_ids: number[] }[]).slice(1);
  const { options } = parseArguments(LAUNCH_SERVER, ['--model-path', MODEL, '--dtype', 'float32'], {});
  const model = await prepareModel(options);
  const runner = ModelRunner.create({ addon: loadAddon(), model, options, log: silentLog });
  try {
    const prompts = cases.map(({ prompt_ids: ids }) => ids);
    const count = cases[0]!.greedy_ids.length;
    for (const cut of [0, 3]) {
      const batch = new StaticBatch(
        runner,
        prompts.map((ids) => ids.length + count),
      );
      if (cut > 0) await batch.extend(prompts.map((ids) => ids.slice(0, cut)));
      const steps = [await batch.extend(prompts.map((ids) => ids.slice(cut)))];
      while (steps.length < count) steps.push(await batch.decode());
      for (const [i, { greedy_ids: expected }] of cases.entries()) {
        const sampled = steps.map((step) => step.sampledIds[i]);
        assert.deepEqual(sampled, expected, `case ${i + 1}, cut ${cut}`);
      }
    }
  } finally {
    runner.close();
  }
});

describe('the sweep', () => {
  test('nests batch sizes, input lengths and output lengths, and says what SGLang says', async () => {
    const { rows, lines } = await run(['--batch-size', '1', '3', '--input-len', '8', '5', '--output-len', '9', '1']);
    assert.deepEqual(
      rows.map((row) => [row.batch_size, row.input_len, row.output_len]),
      [
        [1, 8, 9],
        [1, 8, 1],
        [1, 5, 9],
        [1, 5, 1],
        [3, 8, 9],
        [3, 8, 1],
        [3, 5, 9],
        [3, 5, 1],
      ],
    );
    assert.match(lines[0]!, /^max_total_num_tokens=\d+$/);
    assert.equal(lines[1], 'Warmup ...');
    const start = lines.indexOf('Benchmark ...') + 1;
    const first = lines.slice(start, start + 8);
    const patterns = [
      /^Prefill\. latency: \d\.\d{5} s, throughput: [ \d]{6}\.\d\d token\/s$/,
      ...[0, 1, 2, 3, 4].map(
        (step) =>
          new RegExp(
            `^Decode ${step}\\. Batch size: 1, latency: \\d\\.\\d{5} s, throughput: [ \\d]{6}\\.\\d\\d token/s$`,
          ),
      ),
      /^Decode\. {2}median latency: \d\.\d{5} s, median throughput: [ \d]{6}\.\d\d token\/s$/,
      /^Total\. latency: [ \d]\d\.\d{3} s, throughput: [ \d]{6}\.\d\d token\/s$/,
    ];
    patterns.forEach((pattern, i) => {
      assert.match(first[i]!, pattern);
    });
  });

  test('figures follow from each other', async () => {
    const { rows } = await run(['--batch-size', '4', '--input-len', '16', '--output-len', '6', '1']);
    const [row, single] = rows as [LatencyRow, LatencyRow];
    const close = (actual: number, expected: number) => assert.ok(Math.abs(actual / expected - 1) < 1e-9);
    close(row.prefill_throughput, (16 * 4) / row.prefill_latency);
    close(row.median_decode_throughput!, 4 / row.median_decode_latency!);
    close(row.overall_throughput, ((16 + 6) * 4) / row.total_latency);
    assert.ok(row.total_latency > row.prefill_latency);
    assert.equal(single.total_latency, single.prefill_latency);
    assert.equal('median_decode_latency' in single, false);
  });

  test('rows are appended to the result file', async (t) => {
    const file = join(await temporaryDirectory(t), 'sub', 'result.jsonl');
    const flags = ['--input-len', '4', '--output-len', '2', '--run-name', 'mine', '--result-filename', file];
    const { rows } = await run(flags);
    await run(flags);
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    assert.equal(lines.length, 2);
    assert.deepEqual(JSON.parse(lines[0]!), rows[0]);
    assert.equal(rows[0]!.run_name, 'mine');
  });

  test('an interruption saves the points that were measured', async (t) => {
    const file = join(await temporaryDirectory(t), 'result.jsonl');
    const flags = ['--input-len', '4', '5', '6', '--output-len', '8', '--result-filename', file];
    let prefills = 0;
    const inSecondPoint = (line: string, interrupt: AbortController) => {
      // The first is that of the warm-up.
      if (line.startsWith('Prefill') && ++prefills === 3) interrupt.abort();
    };
    await assert.rejects(run(flags, {}, inSecondPoint), {
      code: 'ABORTED',
      message: 'Interrupted: 1 of 3 points were measured',
    });
    const rows = (await readFile(file, 'utf8')).trimEnd().split('\n');
    assert.deepEqual(
      rows.map((row) => JSON.parse(row).input_len),
      [4],
    );
    const atOnce = (_: string, interrupt: AbortController) => interrupt.abort();
    await assert.rejects(run(flags, {}, atOnce), { code: 'ABORTED', message: /before anything was measured/ });
    await assert.rejects(run(['--correct'], {}, atOnce), { code: 'ABORTED' });
  });

  test('--log-decode-step prints every n-th step after the first five', async () => {
    const { lines } = await run(['--input-len', '4', '--output-len', '21', '--log-decode-step', '6']);
    const steps = lines
      .slice(lines.indexOf('Benchmark ...'))
      .flatMap((line) => /^Decode (\d+)\./.exec(line)?.[1] ?? []);
    assert.deepEqual(steps.map(Number), [0, 1, 2, 3, 4, 6, 12, 18]);
  });

  test('points without room are skipped by name', async () => {
    const flags = ['--batch', '1', '8', '--input-len', '16', '600', '--output-len', '8', '--max-total-tokens', '64'];
    const { rows, lines } = await run(flags);
    assert.deepEqual(
      rows.map((row) => [row.batch_size, row.input_len]),
      [[1, 16]],
    );
    assert.ok(lines.includes('skipping (8, 16, 8) due to max batch size limit'));
    assert.ok(lines.includes('skipping (1, 600, 8) due to context length limit: 608 > 512'));
  });

  test('a sweep without any room is an error', async () => {
    await assert.rejects(run(['--input-len', '600']), (error) => {
      assert.ok(error instanceof VitrineError);
      assert.equal(error.code, 'BENCH_FAILED');
      return true;
    });
  });

  test('dummy weights need a config.json alone', async (t) => {
    const folder = await temporaryDirectory(t);
    await writeFile(join(folder, 'config.json'), await readFile(join(MODEL, 'config.json')));
    const override = '{"num_hidden_layers": 1}';
    const flags = ['--model', folder, '--load-format', 'dummy', '--json-model-override-args', override];
    const { rows } = await run([...flags, '--batch', '2', '--input-len', '16', '--output-len', '4']);
    assert.equal(rows.length, 1);
  });
});

describe('prompt file', () => {
  test('its prompts replace random ids; few are padded, many are cut', async (t) => {
    const file = join(await temporaryDirectory(t), 'prompts.txt');
    await writeFile(file, 'Once upon a time\n\nLily and Tom went to the park\n');
    const flags = ['--prompt-filename', file, '--input-len', '100', '--output-len', '2'];
    const { rows, lines } = await run([...flags, '--batch', '1', '2', '3']);
    assert.deepEqual(
      rows.map((row) => row.input_len),
      [100, 100, 100],
    );
    const text = lines.join('\n');
    assert.match(text, /Custom input size \(2\) is larger than batch_size \(1\)\. Using the first 1 prompts\./);
    assert.match(text, /Custom input size \(2\) is smaller than batch_size \(3\)\./);
  });

  test('a missing file is said, and random ids are used', async () => {
    const { rows, lines } = await run([
      '--prompt-filename',
      '/nonexistent.txt',
      '--input-len',
      '4',
      '--output-len',
      '2',
    ]);
    assert.equal(rows.length, 1);
    assert.match(lines.join('\n'), /Custom prompt file \/nonexistent\.txt not found/);
  });
});

test('--profile: the engine’s own records of one prefill and one decode step', async (t) => {
  const directory = await temporaryDirectory(t);
  const flags = ['--batch-size', '2', '--input-len', '8', '--output-len', '6', '--profile', '--profile-record-shapes'];
  const { rows, lines } = await run(flags, { SGLANG_TORCH_PROFILER_DIR: directory });
  assert.equal(rows.length, 1);
  for (const [stage, tokens] of [
    ['prefill', 16],
    ['decode', 2],
  ] as const) {
    const trace = readTrace(join(directory, `profile_batch2_input8_output6_${stage}.trace.json.gz`));
    assert.deepEqual(traceProblems(trace), []);
    const ops = spansOf(trace, 'cpu_op').filter(({ name }) => name === 'qkv_proj');
    assert.deepEqual(
      ops.map(({ args }) => (args!['Input Dims'] as number[][])[0]),
      Array(5).fill([tokens, 64]),
      'one a layer',
    );
    assert.equal(spansOf(trace, 'user_annotation').filter(({ name }) => name.startsWith('step (')).length, 1);
  }
  // A row of the table for each op and shape: the projection runs once in each of five layers.
  const row = lines.filter((line) => /^ *qkv_proj .*\[\[2,64\],\[128,64\]\]$/.test(line));
  assert.equal(row.length, 1);
  assert.match(row[0]!, / 5 +\[\[2,64\]/);
});

test('a report of the sweep', async (t) => {
  const path = join(await temporaryDirectory(t), 'new', 'report.html');
  const { lines } = await run(['--batch-size', '1', '2', '--input-len', '8', '--output-len', '3', '--report', path]);
  assert.equal(lines.at(-1), `Report: ${path}`);
  const html = await readFile(path, 'utf8');
  const [, json] = /<script type="application\/json" id="report-data">(.*)<\/script>/.exec(html)!;
  const { title, sweep, tables, about } = JSON.parse(json!);
  assert.equal(title, `bench-one-batch: ${MODEL}`);
  assert.deepEqual(sweep[0].batchSize, [1, 2]);
  assert.equal(tables[0].rows.length, 2);
  assert.deepEqual(
    about.map((facts: { title: string }) => facts.title),
    ['Machine of the benchmark', 'Flags'],
  );
  await assert.rejects(
    run(['--correct', '--report', path]),
    /--report: works with a sweep, not with --correctness-test/,
  );
});

describe('correctness test', () => {
  test('prints ids, logits of both prefill steps and texts; cutting the prompt changes nothing', async () => {
    const texts = async (cut: string) => {
      const { lines } = await run(['--correct', '--cut-len', cut, '--output-len', '12']);
      return lines.join('\n');
    };
    const four = await texts('4');
    assert.match(four, /^max_total_num_tokens=/);
    assert.match(four, /\ninput_ids=\[\[1, \d+.*\]\]\n/);
    assert.match(four, /prefill logits \(first half\): tensor\(\[\[-?\d+\.\d{4}, .* \.\.\., /);
    assert.match(four, /========== Prompt 2 ==========\n<s> Today is a sunny day and I like/);
    const final = (text: string) => text.slice(text.indexOf('prefill logits (final)'));
    assert.equal(final(await texts('7')), final(four));
    assert.equal(final(await texts('0')), final(four));
    assert.doesNotMatch(await texts('0'), /first half/);
  });

  test('prompts of a file; a cut that is too long is refused', async (t) => {
    const file = join(await temporaryDirectory(t), 'prompts.txt');
    await writeFile(file, 'Once upon a time\nOne\n');
    const flags = ['--correct', '--prompt-filename', file, '--batch', '2', '--output-len', '3'];
    const { lines } = await run([...flags, '--cut-len', '1']);
    assert.match(lines.join('\n'), /Prompt 0 =+\n<s> Once upon a time/);
    await assert.rejects(run([...flags, '--cut-len', '50']), /--cut-len 50: every prompt must be longer/);
  });
});

// bench-compare: what is matched with what, when a difference counts, and which files are refused.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { benchCompare } from '#vitrine/bench/compare/compare.js';
import { compareFigures, isRegression } from '#vitrine/bench/compare/compare-figures.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_COMPARE } from '#vitrine/config/programs.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

type Row = Record<string, unknown>;

const SERVING: Row = {
  backend: 'sglang',
  dataset_name: 'random',
  num_prompts: 100,
  request_rate: 'inf',
  max_concurrency: 8,
  seed: 1,
  completed: 100,
  failed: 0,
  interrupted: 0,
  request_throughput: 10,
  output_throughput: 500,
  mean_ttft_ms: 20,
  concurrency: 7.5,
};

const serving = (given: Row): Row => ({ ...SERVING, ...given });

interface Outcome {
  readonly printed: string;
  readonly warned: string;
  readonly passed: boolean;
  /** Paths of the files, in order. */
  readonly paths: readonly string[];
}

/** Files a.jsonl, b.jsonl, … of rows, or of text. */
async function compare(
  context: TestContext,
  files: readonly (string | readonly Row[])[],
  flags: readonly string[] = [],
): Promise<Outcome> {
  const folder = await temporaryDirectory(context);
  const paths = files.map((_, i) => join(folder, `${'abc'[i]}.jsonl`));
  for (const [i, content] of files.entries()) {
    await writeFile(
      paths[i]!,
      typeof content === 'string' ? content : content.map((row) => `${JSON.stringify(row)}\n`).join(''),
    );
  }
  const { options } = parseArguments(
    BENCH_COMPARE,
    [...paths, ...flags.map((flag) => flag.replace('DIR', folder))],
    {},
  );
  const printed: string[] = [];
  const warned: string[] = [];
  const passed = await benchCompare(options, {
    print: (line) => printed.push(line),
    warn: (line) => warned.push(line),
  });
  return { printed: printed.join('\n'), warned: warned.join('\n'), passed, paths };
}

async function compareJson(
  context: TestContext,
  files: readonly (string | readonly Row[])[],
  flags: readonly string[] = [],
) {
  const { printed } = await compare(context, files, ['--json', ...flags]);
  // biome-ignore lint/suspicious/noExplicitAny: what is in it is what is tested
  return JSON.parse(printed) as any;
}

const throughputs = (...values: number[]): Row[] => values.map((output_throughput) => serving({ output_throughput }));

describe('a figure', () => {
  const verdict = (metric: string, a: number[], b: number[]) => compareFigures(metric, a, b).verdict;

  test('is better or worse by its direction where the interval leaves out 0', () => {
    assert.equal(verdict('output_throughput', [500, 501, 502], [510, 511, 512]), 'better');
    assert.equal(verdict('output_throughput', [510, 511, 512], [500, 501, 502]), 'worse');
    assert.equal(verdict('p99_ttft_ms', [20, 20.1, 20.2], [30, 30.1, 30.2]), 'worse');
    assert.equal(verdict('steady_state.median_itl_ms', [30, 30.1, 30.2], [20, 20.1, 20.2]), 'better');
    assert.equal(verdict('goodput_attainment.ttft', [0.5, 0.51, 0.52], [0.9, 0.91, 0.92]), 'better');
    assert.equal(verdict('concurrency', [1, 1.01, 1.02], [2, 2.01, 2.02]), 'different');
  });

  test('is within the spread where it does not', () => {
    assert.equal(verdict('output_throughput', [500, 480, 520], [505, 485, 530]), 'within the spread');
    assert.equal(verdict('output_throughput', [500, 500], [500, 500]), 'within the spread');
  });

  test('of one run has no spread', () => {
    assert.equal(verdict('output_throughput', [500], [600]), 'one run: no spread known');
    assert.equal(verdict('output_throughput', [500, 501], [600]), 'one run: no spread known');
  });

  test('medians, spreads and differences by hand', () => {
    const { a, b, differencePercent, intervalPercent } = compareFigures('output_throughput', [1, 2, 3], [4, 6, 8]);
    assert.deepEqual(a, { runs: 3, median: 2, spread: 0.5 });
    assert.deepEqual(b, { runs: 3, median: 6, spread: 1 });
    assert.equal(differencePercent, 200);
    // 4 ± 4.302653 · √(5/3), in % of 2.
    const margin = 50 * 4.302653 * Math.sqrt(5 / 3);
    assert.ok(
      Math.abs(intervalPercent![0] - (200 - margin)) < 1e-3 && Math.abs(intervalPercent![1] - (200 + margin)) < 1e-3,
    );
    assert.equal(compareFigures('accept_length', [0], [0]).differencePercent, 0);
    assert.equal(compareFigures('failed', [0], [3]).differencePercent, undefined);
  });

  test('is a regression when it is worse by more than the share, and than a spread that is known', () => {
    const is = (metric: string, a: number[], b: number[]) => isRegression(compareFigures(metric, a, b), 5);
    assert.equal(is('output_throughput', [100], [94]), true);
    assert.equal(is('output_throughput', [100], [96]), false);
    assert.equal(is('output_throughput', [100], [120]), false);
    assert.equal(is('mean_ttft_ms', [100], [106]), true);
    assert.equal(is('mean_ttft_ms', [100], [94]), false);
    assert.equal(is('output_throughput', [100, 100.1, 99.9], [94, 94.1, 93.9]), true);
    assert.equal(is('output_throughput', [100, 80, 120], [94, 74, 114]), false, 'within the spread');
    assert.equal(is('concurrency', [100], [10]), false, 'neither way is worse');
    assert.equal(is('failed', [0], [1]), true);
  });
});

describe('rows', () => {
  test('of one workload in one file are runs', async (context) => {
    const { comparisons } = await compareJson(context, [throughputs(500, 502, 504), throughputs(520, 522, 524)]);
    assert.equal(comparisons.length, 1);
    const [{ program, a, b, metrics }] = comparisons;
    assert.deepEqual([program, a.runs, b.runs], ['bench-serving', 3, 3]);
    const figure = metrics.find(({ metric }: Row) => metric === 'output_throughput');
    assert.deepEqual([figure.a.median, figure.b.median, figure.verdict], [502, 522, 'better']);
  });

  test('are matched by their workload, whatever their order', async (context) => {
    const rates = (...all: number[]) =>
      all.map((request_rate) => serving({ request_rate, output_throughput: request_rate * 10 }));
    const result = await compareJson(context, [rates(1, 2, 4), rates(4, 2, 8)]);
    const pairs = result.comparisons.map(({ workload, workload_differences: differences }: Row) => [
      workload,
      differences,
    ]);
    const found = pairs.map(([workload, differences]: [Row, unknown[]]) => [workload.request_rate, differences.length]);
    // The two that remain are matched too, and what differs is said.
    assert.deepEqual(found, [
      [2, 0],
      [4, 0],
      [1, 1],
    ]);
    assert.deepEqual(result.comparisons[2].workload_differences, [{ key: 'request_rate', a: 1, b: 8 }]);
  });

  test('without a partner are named', async (context) => {
    const rates = (...all: number[]) => all.map((request_rate) => serving({ request_rate }));
    const { printed, paths } = await compare(context, [rates(1, 2), rates(2, 3, 4)]);
    assert.ok(
      printed.includes(`only in ${paths[0]}: bench-serving dataset_name=random num_prompts=100 request_rate=1 `),
    );
    assert.ok(
      printed.includes(`only in ${paths[1]}: bench-serving dataset_name=random num_prompts=100 request_rate=3 `),
    );
    assert.ok(
      printed.includes(`only in ${paths[1]}: bench-serving dataset_name=random num_prompts=100 request_rate=4 `),
    );
  });

  test('of two setups in one file are not runs of one, and meet their like', async (context) => {
    const of = (backend: string, ...values: number[]) =>
      values.map((output_throughput) => serving({ backend, output_throughput }));
    const both = [...of('vllm', 100, 101), ...of('sglang', 500, 501)];
    const { comparisons } = await compareJson(context, [both, [...of('sglang', 500, 501), ...of('vllm', 100, 101)]]);
    const figures = comparisons.map(({ metrics }: { metrics: Row[] }) =>
      metrics.find(({ metric }) => metric === 'output_throughput'),
    );
    const side = (median: number) => ({ runs: 2, median, spread: 0.25 });
    assert.deepEqual(
      figures.map(({ a, b }: Row) => [a, b]),
      [
        [side(100.5), side(100.5)],
        [side(500.5), side(500.5)],
      ],
    );
    // Where there is but one, it is compared with whatever ran the workload.
    const other = await compareJson(context, [of('sglang', 500, 501), of('vllm', 100, 101)]);
    assert.equal(other.comparisons.length, 1);
  });

  test('of runs that were cut short are left out', async (context) => {
    const cut = serving({ completed: 40, interrupted: 8, output_throughput: 1 });
    const { printed } = await compare(context, [[...throughputs(500, 501), cut], throughputs(500, 501)]);
    assert.match(printed, /a: .*a\.jsonl, 2 runs, without 1 cut short/);
    assert.match(printed, /output_throughput +500\.50 ± 0\.25/);
    // Conversations of three turns each, of which no request was in flight when the user stopped.
    const turns = serving({ completed: 200, num_turns: 300 });
    const multi = await compare(context, [[...throughputs(500, 501), turns], throughputs(500, 501)]);
    assert.match(multi.printed, /a: .*a\.jsonl, 2 runs, without 1 cut short/);
  });

  test('with other options are another workload, where both save them', async (context) => {
    const rows = (...all: object[]) => all.map((workload_args) => serving({ workload_args }));
    const result = await compareJson(context, [rows({}, { gsp_num_groups: 4 }), rows({ gsp_num_groups: 4 }, {})]);
    const found = result.comparisons.map(({ workload, workload_differences: differences }: Row) => [
      (workload as Row).gsp_num_groups,
      differences,
    ]);
    assert.deepEqual(found, [
      [undefined, []],
      [4, []],
    ]);
    const { printed } = await compare(context, [
      rows({ gsp_num_groups: 4 }),
      rows({ gsp_num_groups: 8, lora_name: ['x'] }),
    ]);
    assert.match(printed, /seed=1 gsp_num_groups=4\n/);
    assert.match(printed, /The workloads differ: gsp_num_groups 4 → 8; lora_name default → \["x"\]/);
    const { comparisons } = await compareJson(context, [[SERVING], rows({ gsp_num_groups: 8 })]);
    assert.deepEqual(comparisons[0].workload_differences, []);
  });

  test('of SGLang: a bare Infinity, and keys that it does not save', async (context) => {
    const { num_prompts: _, seed: __, failed: ___, interrupted: ____, ...row } = SERVING;
    const sglang = JSON.stringify({ ...row, tag: 'Infinity "NaN"', accept_length: 0 })
      .replace('"inf"', 'Infinity')
      .replace(':0', ':NaN');
    assert.throws(() => JSON.parse(sglang));
    const { comparisons } = await compareJson(context, [`${sglang}\n`, [SERVING]]);
    assert.equal(comparisons.length, 1);
    assert.equal(comparisons[0].workload.request_rate, 'inf');
    assert.deepEqual(comparisons[0].workload_differences, []);
  });

  test('of the other programs', async (context) => {
    const oneBatch = (batch_size: number, prefill_latency: number): Row => ({
      ...{
        run_name: 'default',
        batch_size,
        input_len: 8,
        output_len: 4,
        prefill_latency,
        prefill_throughput: 1 / prefill_latency,
      },
    });
    const server: Row = {
      batch_size: 1,
      input_len: 8,
      output_len: 4,
      latency: 1,
      overall_throughput: 5,
      last_ttft: 0.5,
    };
    const offline: Row = { successful_requests: 9, total_latency: 3, request_throughput: 3, total_input_tokens: 50 };
    const { comparisons } = await compareJson(context, [
      [oneBatch(1, 0.5), oneBatch(8, 2), server, offline],
      [offline, server, oneBatch(8, 1), oneBatch(1, 0.25)],
    ]);
    assert.deepEqual(
      comparisons.map(({ program }: Row) => program),
      ['bench-one-batch', 'bench-one-batch', 'bench-one-batch-server', 'bench-offline-throughput'],
    );
    assert.deepEqual(
      comparisons.slice(0, 2).map(({ metrics }: { metrics: Row[] }) => metrics[0]!.difference_percent),
      [-50, -50],
    );
  });

  test('that differ in backend or model say so', async (context) => {
    const row = (backend: string, model_path: string) => serving({ backend, server_info: { model_path } });
    const { printed } = await compare(context, [[row('sglang', 'm')], [row('vllm', 'n')]]);
    assert.match(printed, /Also differs: backend sglang → vllm; server_info\.model_path m → n/);
    assert.match(printed, /one run: no spread known/);
    const slos = (ttft: number) => serving({ goodput: 1, goodput_slos: { ttft } });
    const other = await compare(context, [[slos(5)], [slos(6)]]);
    assert.match(other.printed, /Also differs: goodput_slos \{"ttft":5\} → \{"ttft":6\}/);
  });
});

describe('options', () => {
  test('--baseline: the others are compared with it', async (context) => {
    const files = [throughputs(500), throughputs(400), throughputs(300)];
    const { comparisons } = await compareJson(context, files, ['--baseline', 'DIR/b.jsonl']);
    const sides = comparisons.map(({ a, b }: { a: Row; b: Row }) => [a, b].map(({ file }) => String(file).at(-7)));
    assert.deepEqual(sides, [
      ['b', 'a'],
      ['b', 'c'],
    ]);
    await assert.rejects(compare(context, files, ['--baseline', 'x']), /--baseline: expected one of .*got x/);
  });

  test('--metrics: those and no others, also inside steady_state', async (context) => {
    const rows = [serving({ steady_state: { output_throughput: 5 } })];
    const flags = ['--metrics', 'steady_state.output_throughput', 'mean_ttft_ms'];
    const { comparisons } = await compareJson(context, [rows, rows], flags);
    assert.deepEqual(
      comparisons[0].metrics.map(({ metric }: Row) => metric),
      ['steady_state.output_throughput', 'mean_ttft_ms'],
    );
    await assert.rejects(
      compare(context, [rows, rows], ['--metrics', 'mean_tft_ms']),
      /--metrics: no result has a number under 'mean_tft_ms'; did you mean mean_ttft_ms\?/,
    );
  });

  test('--fail-on-regression', async (context) => {
    const files = [throughputs(500), throughputs(450)];
    assert.equal((await compare(context, files)).passed, true);
    assert.equal((await compare(context, files, ['--fail-on-regression', '20'])).passed, true);
    const { passed, warned } = await compare(context, files, ['--fail-on-regression', '5']);
    assert.equal(passed, false);
    assert.equal(warned, 'Worse by more than 5 %: output_throughput');
  });
});

describe('files that are refused', () => {
  const good = `${JSON.stringify(SERVING)}\n`;
  const cases: [string, string, RegExp][] = [
    [
      'a line that is not JSON',
      `${good}\n{"request_throughput": \n`,
      /b\.jsonl:3: expected a JSON object, got '\{"request_throughput": '$/,
    ],
    [
      'a line that is no object',
      `${good}[1, 2]\n`,
      /b\.jsonl:2: expected a result of bench-serving, .*got '\[1, 2\]'$/,
    ],
    [
      'an object that is no result',
      `{"a": 1}\n`,
      /b\.jsonl:1: expected a result of bench-serving, bench-one-batch, .*got '\{"a": 1\}'$/,
    ],
    ['an empty file', '\n', /--files .*b\.jsonl: expected one JSON object a line, got an empty file$/],
  ];
  for (const [name, text, pattern] of cases) {
    test(name, async (context) => {
      await assert.rejects(compare(context, [good, text]), (error) => {
        assert.ok(error instanceof VitrineError);
        assert.equal(error.code, 'INVALID_OPTION');
        assert.match(error.message, pattern);
        return true;
      });
    });
  }

  test('a file that is not there, and one file alone', async (context) => {
    await assert.rejects(compare(context, [good, good], ['DIR/d.jsonl']), /d\.jsonl: cannot be read: ENOENT/);
    await assert.rejects(compare(context, [good]), /--files: expected two or more files, got .*a\.jsonl/);
  });
});

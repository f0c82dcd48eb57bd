// bench-one-batch --profile: which steps are recorded, where to, and what is printed; on the fake engine.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderKeyAverages } from '#vitrine/bench/one-batch/key-averages.js';
import type { LatencyRow } from '#vitrine/bench/one-batch/latency-test.js';
import { benchOneBatch } from '#vitrine/bench/one-batch/one-batch.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_ONE_BATCH } from '#vitrine/config/programs.js';
import type { EngineConfig, NativeAddon, StepCallback } from '#vitrine/native/addon.js';
import { summariseTrace } from '#vitrine/trace/summary/trace-summary.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { silentLog } from '#vitrine/util/log.js';
import { createFakeAddon, type FakeStep } from '../support/fake-engine.js';
import { FAKE_VOCAB_SIZE } from '../support/fake-model.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf, traceProblems } from '../support/trace-checker.js';
import { writeTraceFile } from '../support/trace-files.js';

const STORIES = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));
/** Random prompts of ids that the fake engine knows. */
const NEVER = new AbortController().signal;
const MODEL = [
  ...['--model-path', STORIES, '--result-filename', '', '--random-seed', '1', '--load-format', 'dummy'],
  ...['--json-model-override-args', JSON.stringify({ vocab_size: FAKE_VOCAB_SIZE })],
];

interface Run {
  readonly rows: readonly LatencyRow[];
  readonly lines: readonly string[];
  readonly warned: readonly string[];
  /** Of the traces. */
  readonly directory: string;
  readonly steps: readonly FakeStep[];
}

async function run(t: TestContext, flags: readonly string[], change: (addon: NativeAddon) => NativeAddon = (a) => a) {
  const directory = join(await temporaryDirectory(t), 'new');
  const { options } = parseArguments(BENCH_ONE_BATCH, [...MODEL, ...flags], {});
  const lines: string[] = [];
  const warned: string[] = [];
  const steps: FakeStep[] = [];
  const addon = change(createFakeAddon({ onStep: (step) => steps.push(step) }));
  const rows = await benchOneBatch(options, {
    ...{ addon, log: silentLog, interrupt: NEVER, environment: { SGLANG_TORCH_PROFILER_DIR: directory } },
    output: { print: (line) => lines.push(...line.split('\n')), warn: (line) => warned.push(line) },
  });
  return { rows, lines, warned, directory, steps } satisfies Run;
}

const point = (inputLen: number, outputLen: number) => [
  ...['--batch-size', '2', '--input-len', String(inputLen), '--output-len', String(outputLen)],
];

/** Position of the step's tokens, from the fake’s annotations: `[mode, tokens, step]` of each recorded step. */
function recorded(path: string): unknown[][] {
  const trace = readTrace(path);
  assert.deepEqual(traceProblems(trace), []);
  const annotations = spansOf(trace, 'user_annotation');
  assert.equal(spansOf(trace, 'cpu_op').length, annotations.length, 'the engine’s records of just these steps');
  return annotations.map(({ args }) => [args!.mode, args!.tokens, args!.step]);
}

describe('traces', () => {
  test('the prefill and one decode step, of a run of its own after the timed one', async (t) => {
    const { rows, lines, warned, directory, steps } = await run(t, [...point(5, 9), '--profile']);
    assert.deepEqual(warned, []);
    assert.equal(rows.length, 1);
    const prefill = join(directory, 'profile_batch2_input5_output9_prefill.trace.json.gz');
    const decode = join(directory, 'profile_batch2_input5_output9_decode.trace.json.gz');
    assert.deepEqual(
      readdirSync(directory).sort(),
      ['decode', 'prefill'].map((s) => `profile_batch2_input5_output9_${s}.trace.json.gz`),
    );
    // Steps of a run count from 1: the prefill is the first, decode step 4 the sixth.
    assert.deepEqual(recorded(prefill), [['extend', 10, 1]]);
    assert.deepEqual(recorded(decode), [['decode', 2, 6]]);
    // Warm-up and clean run have all steps, the profiled one ends with the decode step.
    assert.equal(steps.length, 9 + 9 + 6);
    const total = lines.findLastIndex((line) => line.startsWith('Total. '));
    const saved = lines.indexOf(`torch profiler chrome trace for prefill saved to ${prefill}`);
    assert.ok(saved > total, 'the timed run was over');
    assert.equal(lines.at(-1), `torch profiler chrome trace for decode saved to ${decode}`);
    const table = lines.slice(total + 1, saved);
    assert.match(
      table[1]!,
      /Name +Self CPU % +Self CPU +CPU total % +CPU total +CPU time avg +# of Calls +Input Shapes/,
    );
    assert.match(table[3]!, /^ +fake_op +100\.00% +[\d.]+[um]s +100\.00% .* 1 +\[\]$/);
    assert.match(table[5]!, /^Self CPU time total: [\d.]+[um]?s$/);
    assert.equal((await summariseTrace(prefill, 10)).stage, 'prefill');
  });

  test('a window of several decode steps, a stage alone, a prefix', async (t) => {
    const flags = [...point(3, 12), '--profile', '--profile-prefix', 'mine', '--profile-stage', 'decode'];
    const { directory, warned } = await run(t, [...flags, '--profile-start-step', '2', '--profile-steps', '3']);
    assert.deepEqual(readdirSync(directory), ['mine_batch2_input3_output12_decode.trace.json.gz']);
    const [name] = readdirSync(directory);
    assert.deepEqual(
      recorded(join(directory, name!)).map(([, , step]) => step),
      [4, 5, 6],
    );
    assert.deepEqual(warned, []);
    const prefill = await run(t, [...point(3, 12), '--profile', '--profile-stage', 'prefill']);
    assert.deepEqual(readdirSync(prefill.directory), ['profile_batch2_input3_output12_prefill.trace.json.gz']);
  });

  test('the window ends with the output; a point without the step says so', async (t) => {
    const stage = ['--profile', '--profile-stage', 'decode'];
    const cut = await run(t, [...point(3, 6), ...stage, '--profile-start-step', '3', '--profile-steps', '9']);
    const [name] = readdirSync(cut.directory);
    assert.deepEqual(
      recorded(join(cut.directory, name!)).map(([, , step]) => step),
      [5, 6],
    );
    const short = await run(t, [...point(3, 2), '--profile']);
    assert.deepEqual(readdirSync(short.directory), ['profile_batch2_input3_output2_prefill.trace.json.gz']);
    assert.match(
      short.warned[0]!,
      /No decode step is recorded: step 1 was to be, output length 2 has decode steps 0 to 0 only/,
    );
    const none = await run(t, [...point(3, 1), '--profile']);
    assert.match(none.warned[0]!, /output length 1 has no decode step/);
  });

  test('every point of a sweep has its files', async (t) => {
    const flags = ['--batch-size', '1', '2', '--input-len', '4', '--output-len', '6', '--profile'];
    const { directory, rows } = await run(t, flags);
    assert.equal(rows.length, 2);
    assert.equal(readdirSync(directory).length, 4);
  });
});

describe('a GPU that cannot be recorded', () => {
  const flags = [...point(3, 8), '--device', 'cuda', '--profile', '--profile-stage', 'prefill'];

  before(() => {
    process.env.VITRINE_CUDA_LIBRARY = '/the/fake/needs/none.so';
  });

  for (const [gpu, warning] of [
    [{ problem: 'another profiler is attached' }, "The GPU's work is not recorded: another profiler is attached."],
    [{ failure: 'out of buffers' }, 'Work of the GPU is missing: out of buffers.'],
  ] as const) {
    test(`costs the file its work and nothing else: ${Object.keys(gpu)}`, async (t) => {
      const { warned, directory } = await run(t, flags, () => createFakeAddon({ gpu }));
      const [name] = readdirSync(directory);
      const trace = readTrace(join(directory, name!));
      assert.deepEqual(trace.vitrine!.warnings, [warning]);
      assert.equal(spansOf(trace, 'cpu_op').length, 1);
      assert.deepEqual(warned, [warning]);
    });
  }
});

describe('CUDA_PROFILER', () => {
  const flags = [...point(3, 8), '--profile', '--profile-activities', 'CPU', 'CUDA_PROFILER'];

  test('opens the capture range around the steps, with SGLang’s words, and writes no trace', async (t) => {
    const calls: string[] = [];
    const { lines, directory, steps } = await run(t, [...flags, '--profile-steps', '2'], (addon) => ({
      ...addon,
      cudaProfilerStart: () => calls.push('start'),
      cudaProfilerStop: () => calls.push('stop'),
    }));
    // The first stop asks whether there is CUDA.
    assert.deepEqual(calls, ['stop', 'start', 'stop', 'start', 'stop']);
    const words = (stage: string) => [
      'CUDA Profiler started (nsys will begin capturing)',
      'CUDA Profiler stopped (nsys should dump traces)',
      `CUDA profiler trace for ${stage} completed`,
    ];
    assert.deepEqual(lines.slice(-6), [...words('prefill'), ...words('decode')]);
    assert.equal(existsSync(directory), false);
    assert.equal(steps.length, 8 + 8 + 1 + 4 + 2);
  });

  test('fails before anything is timed where there is no CUDA', async (t) => {
    let engines = 0;
    const running = run(t, flags, (addon) => ({
      ...addon,
      Engine: class extends addon.Engine {
        constructor(config: EngineConfig, onStep: StepCallback) {
          super(config, onStep);
          engines += 1;
        }
      },
    }));
    await assert.rejects(running, (error) => {
      assert.ok(error instanceof VitrineError);
      assert.equal(error.code, 'INVALID_OPTION');
      assert.match(error.message, /^--profile-activities: CUDA_PROFILER needs CUDA: .*the fake has no CUDA/);
      return true;
    });
    assert.equal(engines, 0);
  });

  test('the range is closed when a step fails', async (t) => {
    const calls: string[] = [];
    const failing = createFakeAddon({ failAtStep: 8 + 8 + 1 });
    const running = run(t, flags, () => ({
      ...failing,
      cudaProfilerStart: () => calls.push('start'),
      cudaProfilerStop: () => calls.push('stop'),
    }));
    await assert.rejects(running, { code: 'ENGINE_FAILED' });
    assert.deepEqual(calls, ['stop', 'start', 'stop']);
  });
});

test('a step that fails leaves no trace, and the row of the point that was timed', async (t) => {
  const directory = await temporaryDirectory(t);
  const addon = createFakeAddon({ failAtStep: 8 + 8 + 1 });
  const file = join(await temporaryDirectory(t), 'rows.jsonl');
  const flags = [...MODEL, ...point(3, 8), '--profile', '--result-filename', file];
  const { options } = parseArguments(BENCH_ONE_BATCH, flags, {});
  const output = { print: () => {}, warn: () => {} };
  const environment = { SGLANG_TORCH_PROFILER_DIR: directory };
  await assert.rejects(benchOneBatch(options, { addon, output, log: silentLog, interrupt: NEVER, environment }), {
    code: 'ENGINE_FAILED',
  });
  assert.deepEqual(readdirSync(directory), []);
  assert.equal((JSON.parse(readFileSync(file, 'utf8')) as LatencyRow).output_len, 8);
});

test('what cannot be, or does nothing', async (t) => {
  await assert.rejects(
    run(t, [...point(3, 4), '--profile', '--profile-activities', 'GPU']),
    /expected CPU or CUDA_PROFILER/,
  );
  const file = join(await temporaryDirectory(t), 'file');
  writeFileSync(file, '');
  const { options } = parseArguments(BENCH_ONE_BATCH, [...MODEL, '--profile'], {});
  const output = { print: () => {}, warn: () => {} };
  const deps = { addon: createFakeAddon(), log: silentLog, interrupt: NEVER, output };
  await assert.rejects(
    benchOneBatch(options, { ...deps, environment: { SGLANG_TORCH_PROFILER_DIR: file } }),
    /^VitrineError: --profile: traces cannot be written to .*file: /,
  );
  const idle = async (flags: string[]) => (await run(t, [...point(3, 4), ...flags])).warned;
  assert.deepEqual(await idle(['--profile-steps', '2']), ['--profile-steps (without --profile) has no effect']);
  const prefill = ['--profile', '--profile-stage', 'prefill', '--profile-start-step', '1'];
  assert.deepEqual(await idle(prefill), ['--profile-start-step (with --profile-stage prefill) has no effect']);
});

test('--enable-layerwise-nvtx-marker reaches the engine', async (t) => {
  const seen: (boolean | undefined)[] = [];
  const change = (addon: NativeAddon): NativeAddon => ({
    ...addon,
    Engine: class extends addon.Engine {
      constructor(config: EngineConfig, onStep: StepCallback) {
        super(config, onStep);
        seen.push(config.nvtxMarkers);
      }
    },
  });
  await run(t, [...point(3, 4), '--enable-layerwise-nvtx-marker'], change);
  await run(t, point(3, 4), change);
  assert.deepEqual(seen, [true, false]);
});

test('the table: by op and shapes, most self time first, shares of the self time of all', async (t) => {
  const op = (name: string, ts: number, dur: number, dims?: number[][]) => ({
    ...{ ph: 'X', cat: 'cpu_op', name, pid: 1, tid: 1, ts, dur },
    ...(dims === undefined ? {} : { args: { 'Input Dims': dims } }),
  });
  const traceEvents = [
    op('attention', 0, 1000),
    op('gemm', 100, 300, [[2, 3]]),
    op('gemm', 500, 100, [[2, 3]]),
    op('gemm', 2000, 2000, [[4, 5]]),
    op('gemm', 5000, 400),
    { ph: 'X', cat: 'user_annotation', name: 'step', pid: 1, tid: 1, ts: 0, dur: 6000 },
  ];
  const path = writeTraceFile(await temporaryDirectory(t), 'a.trace.json', { schemaVersion: 1, traceEvents });
  const lines = renderKeyAverages(await summariseTrace(path, 100));
  assert.deepEqual(
    lines.slice(3, -3).map((line) => line.trim().split(/\s{2,}/)),
    [
      ['gemm', '58.82%', '2.000ms', '58.82%', '2.000ms', '2.000ms', '1', '[[4,5]]'],
      ['attention', '17.65%', '600.000us', '29.41%', '1.000ms', '1.000ms', '1', '[]'],
      ['gemm', '11.76%', '400.000us', '11.76%', '400.000us', '200.000us', '2', '[[2,3]]'],
      ['gemm', '11.76%', '400.000us', '11.76%', '400.000us', '400.000us', '1', '[]'],
    ],
  );
  assert.equal(lines.at(-2), 'Self CPU time total: 3.400ms');
});

// The parts of gpu-check in the order in which they run: what is worth most first, since time on such a machine may end.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, jsonLines, root, run, summaryOf } from './programs.mjs';

const nativeTests = join(root, 'build/tests/native_tests');
const kernelBench = join(root, 'build/tests/kernel_bench');
const main = join(root, 'dist/cli/main.js');
const llama = join(root, 'test/fixtures/configs/llama-3.1-8b');
const stories = join(root, 'test/fixtures/models/stories260K');
/** On a GPU with kernels of its own for attention, the others would not run at all. */
const PORTABLE_ATTENTION = { VITRINE_CUDA_ATTENTION: 'portable' };
const NO_TIME = { ok: false, reason: 'no time was left for it' };
const SANITIZER_FOLDERS = ['/usr/local/cuda/bin', '/usr/local/cuda/compute-sanitizer'];

/** `minutes`: its limit. `quick`: part of --quick. Each run gets { seconds: its limit, caseSeconds, quick, report }. */
export const PARTS = {
  build: { minutes: 12, quick: true, run: build },
  'native-tests': { minutes: 3, quick: true, run: ({ seconds }) => nativeTestsPart([], {}, seconds) },
  'portable-attention': {
    ...{ minutes: 2, quick: true },
    run: ({ seconds }) => nativeTestsPart(['attention'], PORTABLE_ATTENTION, seconds),
  },
  models: { minutes: 3, quick: true, run: models },
  steps: { minutes: 6, quick: true, run: steps },
  kernels: { minutes: 6, quick: true, run: kernels },
  graphs: { minutes: 2, quick: true, run: graphs },
  serving: { minutes: 3, quick: true, run: serving },
  peers: { minutes: 5, quick: false, run: peers },
  memcheck: { minutes: 10, quick: false, run: (context) => sanitizer('memcheck', context) },
  racecheck: { minutes: 20, quick: false, run: (context) => sanitizer('racecheck', context) },
};

function build({ seconds }) {
  if (existsSync(join(root, 'PREBUILT'))) return { ok: true, skipped: 'built where the bundle was made' };
  const results = [];
  const until = Date.now() + seconds * 1000;
  const step = (args) => {
    const left = (until - Date.now()) / 1000;
    results.push(left < 1 ? NO_TIME : run(process.execPath, args, { seconds: left }));
  };
  step(['scripts/build-native.cjs', '--cuda']);
  step(['scripts/build-native.cjs', '--tests']);
  step(['scripts/build-native.cjs']);
  if (!existsSync(main)) step(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
  return { ...verdictOf(results), steps: results.map(summaryOf) };
}

function nativeTestsPart(filter, env, seconds) {
  const result = run(nativeTests, ['--device', 'cuda', ...filter], { seconds, env });
  const tests = [...result.stdout.matchAll(/^(ok|FAIL|SKIP) +(.*)$/gm)].map(([, verdict, name]) => ({
    name,
    ok: verdict !== 'FAIL',
    ...(verdict === 'SKIP' && { skipped: true }),
  }));
  return { ...summaryOf(result), tests };
}

/** Every reference model in every dtype, against what transformers computed. */
function models({ seconds }) {
  const flags = ['--import', 'tsx', '--test', '--test-reporter=tap', 'test/native/reference-models.test.ts'];
  const result = run(process.execPath, flags, { seconds, env: { VITRINE_TEST_DEVICE: 'cuda' } });
  const tests = [...result.stdout.matchAll(/^ +(ok|not ok) \d+ - (.*)$/gm)];
  return { ...summaryOf(result), tests: tests.map(([, verdict, name]) => ({ name, ok: verdict === 'ok' })) };
}

/** Prefill and decode of Llama-3.1-8B with random weights, in bfloat16 and in float8. */
async function steps({ seconds }) {
  const until = Date.now() + seconds * 1000;
  const runs = [];
  for (const quantization of [undefined, 'fp8']) {
    const left = (until - Date.now()) / 1000;
    runs.push(left < 1 ? { ...NO_TIME, rows: [] } : await stepsOf(quantization, left));
  }
  return { ...verdictOf(runs), runs, rows: runs.flatMap(({ rows }) => rows) };
}

/** Of a part with several runs: why the first of those failed that did. */
export function verdictOf(runs) {
  const failed = runs.find(({ ok }) => !ok);
  if (failed === undefined) return { ok: true };
  const { error, reason = error, tail } = failed;
  return { ok: false, ...(reason && { reason }), ...(tail && { tail }) };
}

async function stepsOf(quantization, seconds) {
  const folder = mkdtempSync(join(tmpdir(), 'vitrine-steps-'));
  try {
    const file = join(folder, 'rows.jsonl');
    const args = ['bench-one-batch', '--model-path', llama, '--load-format', 'dummy', '--device', 'cuda'];
    const shape = ['--batch-size', '1', '32', '--input-len', '1024', '--output-len', '64', '--result-filename', file];
    const weights = quantization === undefined ? [] : ['--quantization', quantization];
    const result = run(process.execPath, [main, ...args, ...weights, ...shape], { seconds });
    const rows = existsSync(file) ? jsonLines(readFileSync(file, 'utf8')) : [];
    // Compiled by the build part, so not there when this file is loaded.
    const { decodeBytes } = await import('./decode-bytes.mjs');
    for (const row of rows) {
      row.quantization = quantization;
      row.decodeBytes = await decodeBytes(llama, quantization, row);
    }
    return { ...summaryOf(result), rows };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function kernels({ seconds, caseSeconds, quick }) {
  const narrow = quick ? ['--dtype', 'bfloat16'] : [];
  const args = ['--device', 'cuda', '--json', '--seconds', String(caseSeconds), ...narrow];
  const result = run(kernelBench, args, { seconds });
  const cases = jsonLines(result.stdout);
  return { ...summaryOf(result), ok: result.ok && cases.length > 0, tail: result.ok ? [] : result.tail, cases };
}

function graphs({ seconds }) {
  const result = run(process.execPath, ['scripts/gpu/graphs-equal.mjs', '--model', stories], { seconds });
  return { ...summaryOf(result), ...jsonLines(result.stdout)[0] };
}

/** Eight layers of Llama-3.1-8B: loaded at once, and steps as long as those of a small model. */
function serving({ seconds }) {
  const args = ['--import', 'tsx', 'scripts/gpu/serving.mjs', '--model', llama, '--layers', '8'];
  const result = run(process.execPath, args, { seconds });
  return { ...summaryOf(result), ...jsonLines(result.stdout)[0] };
}

function peers({ seconds, report }) {
  const python = findTool('python3');
  if (python === undefined) return { ok: true, skipped: 'python3 is not on this machine' };
  const result = run(python, ['scripts/gpu-peers.py', '--report', report], { seconds });
  const found = jsonLines(result.stdout)[0];
  return { ...summaryOf(result), ...(found?.skipped && { skipped: found.skipped }), ...found };
}

/** All native tests, then those of attention once more with the kernels that a Hopper GPU leaves out. */
function sanitizer(check, { seconds }) {
  const tool = findTool('compute-sanitizer', SANITIZER_FOLDERS);
  if (tool === undefined) return { ok: true, skipped: 'compute-sanitizer is not on this machine' };
  const args = ['--tool', check, '--error-exitcode', '9', nativeTests, '--device', 'cuda'];
  const until = Date.now() + seconds * 1000;
  const all = run(tool, args, { seconds });
  if (/device not supported/i.test(all.tail.join('\n'))) {
    return { ok: true, skipped: 'compute-sanitizer does not support this device (a virtual machine, perhaps)' };
  }
  const left = (until - Date.now()) / 1000;
  const portable = left < 1 ? NO_TIME : run(tool, [...args, 'attention'], { seconds: left, env: PORTABLE_ATTENTION });
  const runs = [all, portable].map(summaryOf);
  return { ...verdictOf(runs), runs };
}

// What a machine with a GPU has to say: builds, runs every check that needs one, and writes a JSON report. A part that
// fails does not keep the others from running; the exit code says whether all passed.
//   scripts/gpu-check [--report FILE] [--seconds S] [--only PART,...]
// Parts: build, native-tests, models, benches, sanitizer (memcheck) and, only when named, racecheck: it takes very long.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const library = join(root, 'build/cuda/libvitrine_cuda.so');
const nativeTests = join(root, 'build/tests/native_tests');
const kernelBench = join(root, 'build/tests/kernel_bench');
const TAIL_LINES = 60;
const MINUTE = 60_000;

const { values: options } = parseArgs({
  options: {
    report: { type: 'string', default: 'gpu-check.json' },
    seconds: { type: 'string', default: '0.2' },
    only: { type: 'string' },
  },
});

/** Runs a program to its end; never throws. */
function run(command, args, { minutes = 10, env = {} } = {}) {
  const started = Date.now();
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 28,
    timeout: minutes * MINUTE,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`;
  return {
    ok: result.status === 0,
    command: [command, ...args].join(' '),
    status: result.status,
    ...(result.error && { error: result.error.message }),
    ...(result.signal && { signal: result.signal }),
    seconds: (Date.now() - started) / 1000,
    stdout: result.stdout ?? '',
    tail: output.trimEnd().split('\n').slice(-TAIL_LINES),
  };
}

const report = ({ stdout, ...rest }) => rest;
const firstLine = (text) => text.trim().split('\n')[0] ?? '';

function findTool(name, folders) {
  const paths = [...(process.env.PATH ?? '').split(delimiter), ...folders];
  return paths.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function describeMachine() {
  const query = 'name,driver_version,memory.total,compute_cap,pcie.link.gen.current,power.limit,clocks.max.sm';
  const smi = run('nvidia-smi', [`--query-gpu=${query}`, '--format=csv,noheader'], { minutes: 1 });
  const commitFile = join(root, 'COMMIT');
  const git = run('git', ['rev-parse', 'HEAD'], { minutes: 1 });
  const dirty = run('git', ['status', '--porcelain'], { minutes: 1 });
  const nvcc = findTool('nvcc', ['/usr/local/cuda/bin']);
  return {
    gpu: smi.ok ? smi.stdout.trim().split('\n') : null,
    commit: existsSync(commitFile) ? readFileSync(commitFile, 'utf8').trim() : git.ok ? git.stdout.trim() : 'unknown',
    changed: existsSync(commitFile) ? false : dirty.ok && dirty.stdout !== '',
    nvcc: nvcc === undefined ? null : (/release .*/.exec(run(nvcc, ['--version'], { minutes: 1 }).stdout)?.[0] ?? null),
    cmake: firstLine(run('cmake', ['--version'], { minutes: 1 }).stdout),
    node: process.version,
    kernel: firstLine(run('uname', ['-rm'], { minutes: 1 }).stdout),
  };
}

function build() {
  const steps = [
    run(process.execPath, ['scripts/build-native.cjs', '--tests'], { minutes: 20 }),
    run(process.execPath, ['scripts/build-native.cjs', '--cuda'], { minutes: 30 }),
  ];
  if (!existsSync(join(root, 'dist/native/load.js'))) {
    steps.push(run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']));
  }
  return { ok: steps.every(({ ok }) => ok), steps: steps.map(report) };
}

/** The GPU as our own library sees it. */
function probe() {
  const script = `
    import { loadAddon } from './dist/native/load.js';
    console.log(JSON.stringify(loadAddon().cudaDevices(${JSON.stringify(library)})));`;
  const result = run(process.execPath, ['--input-type=module', '-e', script], { minutes: 1 });
  if (result.ok) return { ok: true, devices: JSON.parse(result.stdout) };
  return { ok: false, reason: /Error: (.*)/.exec(result.tail.join('\n'))?.[1] ?? result.tail.at(-1) };
}

function results(text) {
  const found = [...text.matchAll(/^(ok|FAIL) +(.*)$/gm)];
  return found.map(([, verdict, name]) => ({ name, ok: verdict === 'ok' }));
}

function runNativeTests() {
  const result = run(nativeTests, ['--device', 'cuda'], { minutes: 30 });
  return { ...report(result), tests: results(result.stdout) };
}

function runModels() {
  const flags = ['--import', 'tsx', '--test', '--test-reporter=tap', 'test/native/reference-models.test.ts'];
  const result = run(process.execPath, flags, { minutes: 20, env: { VITRINE_TEST_DEVICE: 'cuda' } });
  const found = [...result.stdout.matchAll(/^ +(ok|not ok) \d+ - (.*)$/gm)];
  return { ...report(result), tests: found.map(([, verdict, name]) => ({ name, ok: verdict === 'ok' })) };
}

function runSanitizer(check) {
  const tool = findTool('compute-sanitizer', ['/usr/local/cuda/bin', '/usr/local/cuda/compute-sanitizer']);
  if (tool === undefined) return { ok: true, skipped: 'compute-sanitizer is not on this machine' };
  return report(
    run(tool, ['--tool', check, '--error-exitcode', '9', nativeTests, '--device', 'cuda'], { minutes: 60 }),
  );
}

function runBenches() {
  const result = run(kernelBench, ['--device', 'cuda', '--json', '--seconds', options.seconds], { minutes: 30 });
  const cases = result.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return { ...report(result), ok: result.ok && cases.length > 0, tail: result.ok ? [] : result.tail, cases };
}

const PARTS = {
  build,
  'native-tests': runNativeTests,
  models: runModels,
  benches: runBenches,
  sanitizer: () => runSanitizer('memcheck'),
  racecheck: () => runSanitizer('racecheck'),
};

const wanted = options.only?.split(',') ?? Object.keys(PARTS).filter((name) => name !== 'racecheck');
for (const name of wanted) {
  if (Object.hasOwn(PARTS, name)) continue;
  console.error(`--only: expected some of ${Object.keys(PARTS).join(', ')}, got '${name}'`);
  process.exit(1);
}

const started = new Date();
const document = { started: started.toISOString(), machine: describeMachine(), device: null, parts: {} };
console.log(`GPU: ${document.machine.gpu?.join('; ') ?? 'nvidia-smi names none'}; commit ${document.machine.commit}`);

let device = null;
for (const name of wanted) {
  const begun = Date.now();
  let outcome;
  if (name !== 'build') device ??= document.device = probe();
  try {
    outcome =
      name === 'build' || device.ok ? PARTS[name]() : { ok: false, reason: `no GPU can be used: ${device.reason}` };
  } catch (error) {
    outcome = { ok: false, error: String(error?.stack ?? error) };
  }
  document.parts[name] = outcome;
  const failed = outcome.tests?.filter(({ ok }) => !ok).map((test) => test.name) ?? [];
  const why = outcome.skipped ?? outcome.reason ?? (outcome.ok ? '' : failed.join('; ') || outcome.tail?.at(-1) || '');
  const verdict = outcome.skipped ? 'skipped' : outcome.ok ? 'ok' : 'FAILED';
  console.log(`${name}: ${verdict} (${((Date.now() - begun) / 1000).toFixed(1)} s)${why === '' ? '' : `: ${why}`}`);
  document.passed = Object.values(document.parts).every(({ ok }) => ok);
  writeFileSync(options.report, `${JSON.stringify(document, null, 2)}\n`); // after each part: a crash keeps the others
}
console.log(`${document.passed ? 'All passed' : 'Not all passed'}; report: ${options.report}`);
process.exitCode = document.passed ? 0 : 1;

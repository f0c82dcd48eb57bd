// `npm test`: the checks, the native tests, then every TypeScript test. Arguments narrow it to test files whose path
// contains one of them: `npm test -- scheduler server`.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv.slice(2);

/** A machine with a GPU tests the same as one without: `auto` finds no kernels. scripts/gpu-check tests the GPU. */
const env = { ...process.env, VITRINE_CUDA_LIBRARY: '/tests/run/on/the/cpu' };

function run(what, command, args) {
  console.log(`\n=== ${what}`);
  const { status, signal } = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status === 0) return;
  console.error(`${what} failed (${signal ?? `exit ${status}`})`);
  process.exit(1);
}

const files = readdirSync(`${root}/test`, { recursive: true })
  .filter((path) => path.endsWith('.test.ts'))
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)))
  .map((path) => `test/${path}`)
  .sort();

if (files.length === 0) {
  console.error(`No test file's path contains ${wanted.join(' or ')}`);
  process.exit(1);
}
if (wanted.length === 0) {
  run('Types, lint, imports, generated files', 'npm', ['run', '--silent', 'check']);
  run('Building the native tests', process.execPath, ['scripts/build-native.cjs', '--tests']);
  run('Native tests', `${root}/build/tests/native_tests`, []);
  if (spawnSync('nvcc', ['--version']).status === 0 || existsSync('/usr/local/cuda/bin/nvcc')) {
    run('Building the GPU kernels', process.execPath, ['scripts/build-native.cjs', '--cuda']);
  } else {
    console.log('\nnvcc is not installed: the GPU kernels were not built, and what tests ask of them is skipped');
  }
}
run(`TypeScript tests (${files.length} files)`, process.execPath, [
  '--import',
  'tsx',
  '--test',
  '--test-concurrency=2',
  '--test-reporter=spec',
  ...files,
]);

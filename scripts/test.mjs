// `npm test`: the checks, the native tests, then every TypeScript test. Arguments narrow it to test files whose path
// contains one of them: `npm test -- scheduler server`.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv.slice(2);

function run(what, command, args) {
  console.log(`\n=== ${what}`);
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
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
}
run(`TypeScript tests (${files.length} files)`, process.execPath, [
  '--import',
  'tsx',
  '--test',
  '--test-concurrency=2',
  '--test-reporter=spec',
  ...files,
]);

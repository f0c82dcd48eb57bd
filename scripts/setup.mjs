// Everything a fresh clone needs before it can run: packages, the native addon, compiled TypeScript. Does nothing twice.
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const modified = (path) => statSync(`${root}/${path}`, { throwIfNoEntry: false })?.mtimeMs ?? 0;

function run(what, command, args) {
  console.error(`> ${what}`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status === 0) return;
  console.error(`${what} failed${error ? `: ${error.message}` : ''}`);
  process.exit(1);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 17)) {
  console.error(`Vitrine needs Node.js 20.17 or newer; this is ${process.versions.node}`);
  process.exit(1);
}

const installed = modified('node_modules/.package-lock.json');
if (installed === 0 || installed < modified('package-lock.json')) {
  run('Installing packages', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
}
run('Building the native addon', process.execPath, ['scripts/build-native.cjs']);
run('Compiling TypeScript', process.execPath, ['node_modules/typescript/bin/tsc', '--build']);

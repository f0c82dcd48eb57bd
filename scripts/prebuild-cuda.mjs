// Makes the library of the CUDA package: built, stripped, in packages/cuda-linux-x64. Needs nvcc, no GPU.
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}packages/cuda-linux-x64`;
const target = `${folder}/libvitrine_cuda.so`;
const versionIn = (path) => JSON.parse(readFileSync(`${path}/package.json`, 'utf8')).version;

if (versionIn(folder) !== versionIn(root)) {
  console.error(`${folder}/package.json: expected version ${versionIn(root)}, got ${versionIn(folder)}`);
  process.exit(1);
}
execFileSync(process.execPath, [`${root}scripts/build-native.cjs`, '--cuda'], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
copyFileSync(`${root}build/cuda/libvitrine_cuda.so`, target);
execFileSync('strip', ['--strip-unneeded', target], { stdio: 'inherit' });
console.log(`${target}: ${(statSync(target).size / 1024).toFixed(0)} KiB`);

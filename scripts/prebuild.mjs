// Makes the prebuilt binary of this platform for the package: a release build, stripped, where node-gyp-build looks.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}prebuilds/${process.platform}-${process.arch}`;
const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
const target = `${folder}/vitrine.${libc}.node`;

execFileSync(process.execPath, [`${root}scripts/build-native.cjs`, '--build-type', 'Release'], {
  cwd: root,
  env: { ...process.env, VITRINE_SANITIZER: '', VITRINE_TESTS: '' },
  stdio: ['ignore', 'inherit', 'inherit'],
});
rmSync(folder, { recursive: true, force: true }); // node-gyp-build must find one binary there
mkdirSync(folder, { recursive: true });
copyFileSync(`${root}build/Release/vitrine.node`, target);
execFileSync('strip', ['--strip-unneeded', target], { stdio: 'inherit' });
console.log(`${target}: ${(statSync(target).size / 1024).toFixed(0)} KiB`);

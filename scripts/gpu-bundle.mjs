// scripts/gpu-bundle [--prebuilt] [FILE]: makes vitrine-gpu.tar.xz from what git knows and gpu-check needs, the compiled
// TypeScript, the packages that run and test it, and a stripped Node. --prebuilt adds what was built here, for a machine
// whose time is too dear for compilers (and whose C library is not older). Fails above 60 MiB, the most that such a
// machine may be sent.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const MOST_BYTES = 60 * 2 ** 20;
const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options, positionals } = parseArgs({
  options: { prebuilt: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const target = resolve(positionals[0] ?? 'vitrine-gpu.tar.xz');
if (!target.endsWith('.tar.xz')) throw new Error(`expected a file name that ends in .tar.xz, got ${target}`);
/** What gpu-check's build part makes, but for what only a compiler needs. */
const PRODUCTS = [
  'build/cuda/libvitrine_cuda.so',
  'build/tests/native_tests',
  'build/tests/kernel_bench',
  'build/Release/vitrine.node',
];
/** Beside what package.json asks for at run time: what runs the TypeScript tests. */
const TEST_PACKAGES = ['tsx'];
/** Of what git knows: tests that no part of gpu-check runs, their fixtures, and a model that is a fixture too. */
const UNCHECKED =
  /^(models\/|test\/(?!native\/reference-models\.|reference\/|support\/|fixtures\/(models|configs)\/|tsconfig))/;
/** Parts of packages that no check there needs. esbuild's own package has a second copy of the platform's program. */
const SUPERFLUOUS =
  /\/dist\/(browser|commonjs)$|@huggingface\/hub\/dist\/[^/]+\.js$|(\.map|\.d\.[cm]?ts|\.md|node_modules\/esbuild\/bin\/esbuild|node_modules\/[^@/]+\/tests?)$/;

const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();

/** The packages' folders below node_modules, with all that they depend on. */
function packageFolders() {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const { dependencies } = lock[''];
  const found = new Set();
  const visit = (from, names, optional) => {
    for (const name of Object.keys(names ?? {})) {
      let base = from;
      let path = join(base, 'node_modules', name);
      while (lock[path] === undefined && base !== '') {
        base = base.includes('node_modules') ? dirname(base.slice(0, base.lastIndexOf('node_modules'))) : '';
        if (base === '.') base = '';
        path = join(base, 'node_modules', name);
      }
      const there = lock[path] !== undefined && existsSync(join(root, path));
      if (!there && optional) continue; // of another platform
      if (!there) throw new Error(`${name}, needed by ${from || 'vitrine'}, is not installed`);
      if (found.has(path)) continue;
      found.add(path);
      visit(path, lock[path].dependencies, false);
      visit(path, lock[path].optionalDependencies, true);
    }
  };
  visit('', dependencies, false);
  visit('', Object.fromEntries(TEST_PACKAGES.map((name) => [name, '*'])), false);
  return [...found].sort();
}

/** A binary of another platform than this one, by the name of its folder or file. */
function isForeign(path) {
  const platforms =
    /(darwin|win32|windows|freebsd|android|musl|arm64|arm-|aarch64|armv7|armhf|ia32|riscv64|s390x|ppc64)/;
  return /\.(node|dylib|dll|exe)$/.test(path) && platforms.test(path);
}

const folder = mkdtempSync(join(tmpdir(), 'vitrine-gpu-'));
try {
  const kit = join(folder, 'vitrine-gpu');
  const home = join(kit, 'vitrine');
  mkdirSync(join(kit, 'bin'), { recursive: true });
  execFileSync('strip', ['-o', join(kit, 'bin/node'), process.execPath]);
  for (const path of git('ls-files').split('\n')) {
    if (UNCHECKED.test(path) || !existsSync(join(root, path))) continue;
    cpSync(join(root, path), join(home, path));
  }
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'], { cwd: root });
  cpSync(join(root, 'dist'), join(home, 'dist'), { recursive: true });
  for (const path of packageFolders()) {
    cpSync(join(root, path), join(home, path), {
      recursive: true,
      filter: (from) =>
        !SUPERFLUOUS.test(from) && !isForeign(from) && !from.slice(root.length + path.length).includes('/node_modules'),
    });
  }
  if (options.prebuilt) {
    for (const path of PRODUCTS) {
      if (!existsSync(join(root, path))) throw new Error(`--prebuilt: ${path} is not there; build it first`);
      mkdirSync(dirname(join(home, path)), { recursive: true });
      execFileSync('strip', ['-o', join(home, path), join(root, path)]);
    }
    writeFileSync(join(home, 'PREBUILT'), `${PRODUCTS.join('\n')}\n`);
  }
  const changed = git('status', '--porcelain') === '' ? '' : '+changes';
  writeFileSync(join(home, 'COMMIT'), `${git('rev-parse', 'HEAD')}${changed}\n`);
  const { status } = spawnSync('tar', ['-C', folder, '-cJf', target, ...readdirSync(folder)], {
    stdio: 'inherit',
    env: { ...process.env, XZ_OPT: '-T0 -6' },
  });
  if (status !== 0) throw new Error('tar failed (it needs xz)');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const { size } = statSync(target);
console.log(`${target}: ${(size / 2 ** 20).toFixed(1)} MiB`);
if (size > MOST_BYTES) {
  console.error(`expected at most ${MOST_BYTES / 2 ** 20} MiB`);
  process.exitCode = 1;
}

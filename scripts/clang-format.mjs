// Formats the C++ sources, or with --check fails when one is not formatted. Without clang-format on the machine --check
// says so and passes: a user can run the tests without it, continuous integration installs it.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');
const sources = readdirSync(`${root}/native`, { recursive: true })
  .filter((path) => /\.(h|cc|inc|cu|cuh)$/.test(path) && !/(forward_batch|span)_layout\.h$/.test(path))
  .map((path) => `native/${path}`)
  .sort();

const mode = check ? ['--dry-run', '--Werror'] : ['-i'];
const { status, error } = spawnSync('clang-format', [...mode, ...sources], { cwd: root, stdio: 'inherit' });
if (error?.code === 'ENOENT') {
  console.log('clang-format is not installed: the C++ format was not checked');
  process.exit(check ? 0 : 1);
}
process.exit(status ?? 1);

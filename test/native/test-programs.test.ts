// What kernel_bench says of a run in which there is nothing to do.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../build/tests/', import.meta.url));
const skip = existsSync(folder) ? false : 'build/tests is not there (node scripts/build-native.cjs --tests)';

function run(program: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(`${folder}${program}`, args, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('kernel_bench: a filter that matches nothing is a mistake', { skip }, () => {
  const { status, stderr } = run('kernel_bench', '--filter', 'no such case', '--json');
  assert.equal(stderr, '--filter no such case: no case has this in its name; without --filter all cases are named\n');
  assert.equal(status, 1);
});

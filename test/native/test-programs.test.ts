// What native_tests and kernel_bench say of runs in which there is little or nothing to do.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../build/tests/', import.meta.url));
const skip = existsSync(folder) ? false : 'build/tests is not there (node scripts/build-native.cjs --tests)';

function run(program: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(`${folder}${program}`, args, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('native_tests', { skip }, () => {
  test('a test that this machine cannot run is skipped, with the reason', () => {
    const name = 'decoder: a GPU keeps the memory that was reserved at start, whatever steps come';
    const { status, stdout } = run('native_tests', name);
    assert.equal(stdout, `SKIP  ${name}: a CPU reserves none\n0 passed, 0 failed, 1 skipped\n`);
    assert.equal(status, 77);
  });

  test('the others are counted beside them', () => {
    const { status, stdout } = run('native_tests', 'dtype: ');
    assert.match(stdout, /^ok {4}dtype.*\n(.*\n)*[1-9]\d* passed, 0 failed, 0 skipped\n$/);
    assert.equal(status, 0);
  });

  test('a filter that matches nothing is a mistake', () => {
    const { status, stdout } = run('native_tests', 'no such test');
    assert.deepEqual([status, stdout], [1, '0 passed, 0 failed, 0 skipped\n']);
  });
});

test('kernel_bench: a filter that matches nothing is a mistake', { skip }, () => {
  const { status, stderr } = run('kernel_bench', '--filter', 'no such case', '--json');
  assert.equal(stderr, '--filter no such case: no case has this in its name; without --filter all cases are named\n');
  assert.equal(status, 1);
});

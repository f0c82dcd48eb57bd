// What the parts of gpu-check ask of the programs they run. Without a GPU those say so; what they were asked is told.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pythonLibraryFolders } from '../../scripts/gpu/machine.mjs';
import { PARTS, verdictOf } from '../../scripts/gpu/parts.mjs';
import { temporaryDirectory } from '../support/temporary-directory.js';

const noPython = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not on this machine';

describe('parts of gpu-check', () => {
  it('attention is tested twice: as the device chooses its kernels, and without those for Hopper alone', async () => {
    const context = { seconds: 60, caseSeconds: 1, quick: true, report: '' };
    const commandOf = async (part: 'native-tests' | 'portable-attention') => (await PARTS[part].run(context)).command;
    assert.match(
      await commandOf('portable-attention'),
      /^VITRINE_CUDA_ATTENTION=portable \S*native_tests --device cuda attention$/,
    );
    assert.match(await commandOf('native-tests'), /^\S*native_tests --device cuda$/);
    assert.ok(PARTS['portable-attention'].quick, 'the quick check has no less');
  });

  it('of several runs, the first that failed tells the reason', () => {
    const good = { ok: true, tail: ['fine'] };
    const late = { ok: false, reason: 'ran past its limit of 3 s', tail: ['slow'] };
    assert.deepEqual(verdictOf([good, late, { ok: false, tail: ['worse'] }]), late);
    assert.deepEqual(verdictOf([good, { ok: false, tail: ['worse'] }]), { ok: false, tail: ['worse'] });
    assert.deepEqual(verdictOf([good, good]), { ok: true });
  });

  it('no run begins without time left', async () => {
    const { ok, reason, runs } = await PARTS.steps.run({ seconds: 0 });
    assert.deepEqual([ok, reason], [false, 'no time was left for it']);
    assert.ok(runs.every((run: object) => !('command' in run)));
  });
});

describe('libraries of CUDA on a machine without a toolkit', () => {
  it('are found where Python’s packages have them', { skip: noPython }, async (t) => {
    const folder = await temporaryDirectory(t);
    for (const [name, file] of [
      ['cu13', 'libcublasLt.so.13'],
      ['nccl', 'libnccl.so.2'],
    ] as const) {
      mkdirSync(join(folder, 'nvidia', name, 'lib'), { recursive: true });
      writeFileSync(join(folder, 'nvidia', name, 'lib', file), '');
    }
    mkdirSync(join(folder, 'nvidia', 'strange'));
    writeFileSync(join(folder, 'nvidia', 'strange', 'lib'), 'no folder');
    process.env.PYTHONPATH = folder;
    t.after(() => delete process.env.PYTHONPATH);
    const found = pythonLibraryFolders();
    assert.ok(found.includes(join(folder, 'nvidia/cu13/lib')), found.join());
    assert.ok(!found.includes(join(folder, 'nvidia/nccl/lib')), 'only what is wanted');
  });
});

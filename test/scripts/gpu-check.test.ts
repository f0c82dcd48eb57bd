// What the parts of gpu-check ask of the programs they run. Without a GPU those say so; what they were asked is told.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pythonLibraryFolders } from '../../scripts/gpu/machine.mjs';
import { PARTS } from '../../scripts/gpu/parts.mjs';
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
    process.env.PYTHONPATH = folder;
    t.after(() => delete process.env.PYTHONPATH);
    const found = pythonLibraryFolders();
    assert.ok(found.includes(join(folder, 'nvidia/cu13/lib')), found.join());
    assert.ok(!found.includes(join(folder, 'nvidia/nccl/lib')), 'only what is wanted');
  });
});

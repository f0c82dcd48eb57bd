// Which caches of packed weights are the same, and where there can be none.
import assert from 'node:assert/strict';
import { open, rename, stat, utimes } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { writeRandomModel } from '../reference/random-model.js';
import { ENGINE_DEFAULTS, modelDirectory } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { TINY_LLAMA } from './model-folder.js';

type Options = Partial<Parameters<typeof prepareModel>[0]>;

async function planOf(modelPath: string, options: Options = {}) {
  const { loadPlan } = await prepareModel({ ...ENGINE_DEFAULTS, modelPath, weightCacheDir: 'cache', ...options });
  return loadPlan.cache!;
}

async function identityOf(modelPath: string, options: Options = {}): Promise<string> {
  return (await planOf(modelPath, options)).identity;
}

async function randomModel(t: TestContext): Promise<string> {
  const directory = await temporaryDirectory(t);
  await writeRandomModel(directory, TINY_LLAMA);
  return directory;
}

/** Sets the times of a file to those it had before `change`. */
async function keepingTimes(path: string, change: () => Promise<void>): Promise<void> {
  const { atime, mtime } = await stat(path);
  await change();
  await utimes(path, atime, mtime);
}

describe('identity', () => {
  test('is a plain name, the same whenever it is asked for', async (t) => {
    const model = await randomModel(t);
    const identity = await identityOf(model);
    assert.match(identity, /^[0-9a-f]{32}$/);
    assert.equal(await identityOf(model), identity);
    assert.equal(await identityOf(model, { cpuThreads: 1, contextLength: 32 }), identity);
  });

  test('stays when the model is moved', async (t) => {
    const model = await randomModel(t);
    const identity = await identityOf(model);
    const moved = join(await temporaryDirectory(t), 'elsewhere');
    await rename(model, moved);
    assert.equal(await identityOf(moved), identity);
  });

  test('changes with the time of a file', async (t) => {
    const model = await randomModel(t);
    const identity = await identityOf(model);
    const path = join(model, 'model.safetensors');
    const { mtime } = await stat(path);
    await utimes(path, mtime, new Date(mtime.getTime() + 10));
    assert.notEqual(await identityOf(model), identity);
  });

  test('changes with other weights of the same size and time', async (t) => {
    const model = await randomModel(t);
    const path = join(model, 'model.safetensors');
    await utimes(path, 1e9, 1e9);
    const identity = await identityOf(model);
    await keepingTimes(path, () => writeRandomModel(model, TINY_LLAMA, { seed: 2 }));
    const other = await identityOf(model);
    assert.notEqual(other, identity);
    await keepingTimes(path, async () => {
      const { size } = await stat(path);
      const file = await open(path, 'r+');
      await file.write(Buffer.from([0x5a]), 0, 1, size - 1);
      await file.close();
    });
    assert.notEqual(await identityOf(model), other);
  });

  test('changes with the dtype and with how tensors become parameters', async (t) => {
    const model = await randomModel(t);
    const identity = await identityOf(model);
    assert.notEqual(await identityOf(model, { dtype: 'bfloat16' }), identity);
    const tied = await identityOf(model, { jsonModelOverrideArgs: { tie_word_embeddings: true } });
    assert.notEqual(tied, identity);
  });
});

test('the folder is absolute, and nobody has a cache without asking', async (t) => {
  const model = await randomModel(t);
  assert.equal((await planOf(model)).directory, resolve('cache'));
  assert.equal((await prepareModel({ ...ENGINE_DEFAULTS, modelPath: model })).loadPlan.cache, undefined);
});

test('a GPU and dummy weights are refused by name', async () => {
  const modelPath = modelDirectory('tiny-qwen2');
  const refused = (options: Options, message: RegExp) =>
    assert.rejects(prepareModel({ ...ENGINE_DEFAULTS, modelPath, weightCacheDir: '/tmp', ...options }), {
      code: 'INVALID_OPTION',
      param: '--weight-cache-dir',
      message,
    });
  await refused({ device: 'cuda' }, /^--weight-cache-dir cannot be used with --device cuda: /);
  await refused({ loadFormat: 'dummy' }, /^--weight-cache-dir cannot be used with --load-format dummy: /);
});

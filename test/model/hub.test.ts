import assert from 'node:assert/strict';
import { cp, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { resolveModelDirectory, type WantedFiles } from '#vitrine/model/hub.js';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { ENGINE_DEFAULTS } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { HUB_COMMIT, startFakeHub } from './fake-hub.js';
import { safetensorsBytes, TINY_LLAMA, tinyLlamaTensors } from './model-folder.js';

const ID = 'owner/tiny';
const FILES = {
  'README.md': Buffer.from('read me'),
  'config.json': Buffer.from(JSON.stringify(TINY_LLAMA)),
  'generation_config.json': Buffer.from('{"eos_token_id": [2, 3]}'),
  'model.safetensors': safetensorsBytes(tinyLlamaTensors()),
  'consolidated.safetensors': Buffer.from('not wanted'),
  'pytorch_model.bin': Buffer.from('not wanted'),
  'tokenizer.json': Buffer.from('{}'),
  'tokenizer_config.json': Buffer.from('{}'),
  'chat_template.jinja': Buffer.from('{{ messages }}'),
};

async function hubTest(t: TestContext, files: Record<string, Buffer> = FILES) {
  const home = await temporaryDirectory(t);
  const hub = await startFakeHub(t, ID, files);
  const env: Record<string, string> = { HF_HOME: home, HF_ENDPOINT: hub.url };
  const resolve = (what: WantedFiles, revision = 'main') => resolveModelDirectory(ID, { revision, what, env });
  return { hub, env, home, resolve };
}

describe('downloading', () => {
  const wanted: [WantedFiles, string[]][] = [
    ['config', ['config.json', 'generation_config.json']],
    ['model', ['config.json', 'generation_config.json', 'model.safetensors']],
    ['tokenizer', ['chat_template.jinja', 'tokenizer.json', 'tokenizer_config.json']],
  ];
  for (const [what, names] of wanted) {
    test(`only the files of a ${what}, into the standard cache`, async (t) => {
      const { home, resolve } = await hubTest(t);
      const directory = await resolve(what);
      assert.equal(directory, join(home, 'hub', 'models--owner--tiny', 'snapshots', HUB_COMMIT));
      assert.deepEqual((await readdir(directory)).toSorted(), names);
      for (const name of names) {
        assert.deepEqual(await readFile(join(directory, name)), FILES[name as keyof typeof FILES]);
        assert.ok((await lstat(join(directory, name))).isSymbolicLink());
      }
      const repository = join(home, 'hub', 'models--owner--tiny');
      assert.equal(await readFile(join(repository, 'refs', 'main'), 'utf8'), HUB_COMMIT);
      assert.equal((await readdir(join(repository, 'blobs'))).length, names.length, 'no temporary file is left');
    });
  }

  test('all shards of an index', async (t) => {
    const { resolve } = await hubTest(t, {
      'config.json': FILES['config.json'],
      'model.safetensors.index.json': Buffer.from('{"weight_map": {}}'),
      'model-1.safetensors': Buffer.from('1'),
      'model-2.safetensors': Buffer.from('2'),
      'consolidated.safetensors': Buffer.from('3'),
    });
    const names = ['config.json', 'model-1.safetensors', 'model-2.safetensors', 'model.safetensors.index.json'];
    assert.deepEqual((await readdir(await resolve('model'))).toSorted(), names);
  });

  test('what is in the cache is not downloaded again', async (t) => {
    const { hub, resolve } = await hubTest(t);
    const first = await resolve('model');
    const before = hub.requests.length;
    assert.equal(await resolve('model'), first);
    assert.deepEqual(hub.requests.slice(before), [
      `GET /api/models/${ID}/revision/main`,
      `GET /api/models/${ID}/tree/${HUB_COMMIT}`,
    ]);
  });

  test('several at the same time do not disturb each other', async (t) => {
    const { resolve } = await hubTest(t);
    const found = await Promise.all([resolve('model'), resolve('tokenizer'), resolve('model'), resolve('config')]);
    assert.equal(new Set(found).size, 1);
    assert.deepEqual(await readFile(join(found[0]!, 'model.safetensors')), FILES['model.safetensors']);
  });

  test('a revision with slashes', async (t) => {
    const { home, resolve } = await hubTest(t);
    await resolve('config', 'refs/pr/1');
    const ref = join(home, 'hub', 'models--owner--tiny', 'refs', 'refs', 'pr', '1');
    assert.equal(await readFile(ref, 'utf8'), HUB_COMMIT);
  });

  test('the token goes along', async (t) => {
    const { hub, env, home, resolve } = await hubTest(t);
    await resolve('config');
    assert.deepEqual([...hub.tokens], []);
    await writeFile(join(home, 'token'), 'hf_stored\n');
    await resolve('config');
    env.HF_TOKEN = 'hf_given';
    await resolve('config');
    assert.deepEqual([...hub.tokens], ['Bearer hf_stored', 'Bearer hf_given']);
    env.HF_TOKEN = 'abc';
    await assert.rejects(resolve('config'), { code: 'INVALID_OPTION', message: /HF_TOKEN must start with "hf_"/ });
  });

  /** For what reads the environment of the process. */
  function useEnvironment(t: TestContext, env: Record<string, string>): void {
    const before = { ...process.env };
    Object.assign(process.env, env);
    t.after(() => {
      for (const key of Object.keys(env)) delete process.env[key];
      Object.assign(process.env, before);
    });
  }

  test('prepareModel takes a hub id', async (t) => {
    const { env } = await hubTest(t);
    useEnvironment(t, env);
    const prepared = await prepareModel({ ...ENGINE_DEFAULTS, modelPath: ID });
    assert.deepEqual(prepared.eosTokenIds, [2, 3]);
    assert.equal(prepared.loadPlan.files.length, 1);
  });

  test('prepareModel downloads no weights of a model that it refuses by its config', async (t) => {
    const { env, hub } = await hubTest(t);
    useEnvironment(t, env);
    const prepare = (options: Partial<Parameters<typeof prepareModel>[0]>) =>
      prepareModel({ ...ENGINE_DEFAULTS, modelPath: ID, ...options });
    const override = (values: Record<string, unknown>) => prepare({ jsonModelOverrideArgs: values });
    await assert.rejects(override({ architectures: ['GPT2LMHeadModel'] }), { code: 'MODEL_UNSUPPORTED' });
    await assert.rejects(override({ hidden_act: 'tanh' }), { code: 'MODEL_UNSUPPORTED' });
    await assert.rejects(override({ quantization_config: { quant_method: 'awq' } }), { code: 'MODEL_UNSUPPORTED' });
    await assert.rejects(prepare({ contextLength: 65 }), { param: '--context-length' });
    const files = () =>
      hub.requests.filter((request) => request.includes('/resolve/')).map((path) => path.split('/').at(-1));
    assert.deepEqual([...new Set(files())].toSorted(), ['config.json', 'generation_config.json']);
    const asked = hub.requests.length;
    await assert.rejects(prepare({ cudaGraphBs: [8, 12], cudaGraphMaxBs: 8 }), {
      code: 'INVALID_OPTION',
      message: '--cuda-graph-bs: expected sizes up to --cuda-graph-max-bs 8, got 12',
    });
    assert.equal(hub.requests.length, asked, 'options alone are refused before the hub is asked');
    await prepare({});
    assert.ok(files().includes('model.safetensors'));
  });
});

describe('failures', () => {
  const expected = (message: RegExp) => ({ code: 'MODEL_NOT_FOUND', message });

  test('no such model or revision', async (t) => {
    const { env, resolve } = await hubTest(t);
    const other = resolveModelDirectory('owner/other', { revision: 'main', what: 'model', env });
    await assert.rejects(
      other,
      expected(/owner\/other is neither a local folder nor a model on the hub with revision main/),
    );
    await assert.rejects(resolve('model', 'v9'), expected(/with revision v9/));
  });

  test('access refused', async (t) => {
    const { hub, resolve } = await hubTest(t);
    for (hub.failWith of [401, 403]) {
      await assert.rejects(resolve('model'), expected(/refuses access to owner\/tiny: .*Set HF_TOKEN/));
    }
    hub.failWith = 429;
    await assert.rejects(resolve('model'), expected(/answers 429 for owner\/tiny/));
  });

  test('files that are not there', async (t) => {
    const { resolve } = await hubTest(t, {
      'config.json': FILES['config.json'],
      'pytorch_model.bin': Buffer.from('x'),
    });
    await assert.rejects(resolve('model'), expected(/has no weights in safetensors format/));
    await assert.rejects(resolve('tokenizer'), expected(/has no tokenizer\.json/));
  });

  test('no network and an empty cache', async (t) => {
    const { hub, resolve } = await hubTest(t);
    await hub.close();
    await assert.rejects(
      resolve('model'),
      expected(/owner\/tiny is no local folder, and it cannot be downloaded from http.*ECONNREFUSED.*Give the path/),
    );
  });

  test('no network but a cached copy', async (t) => {
    const { hub, resolve } = await hubTest(t);
    const directory = await resolve('model');
    await hub.close();
    assert.equal(await resolve('model'), directory);
    await assert.rejects(resolve('tokenizer'), expected(/cannot be downloaded/));
  });

  test('a hub in trouble and a cached copy', async (t) => {
    const { hub, resolve } = await hubTest(t);
    const directory = await resolve('model');
    hub.failWith = 503;
    assert.equal(await resolve('model'), directory);
  });

  test('a download that is too short leaves nothing behind', async (t) => {
    const { hub, home, resolve } = await hubTest(t);
    hub.truncateBy = 3;
    await assert.rejects(resolve('config'), expected(/config\.json: got \d+ of \d+ bytes/));
    assert.deepEqual(await readdir(join(home, 'hub', 'models--owner--tiny', 'blobs')), []);
    hub.truncateBy = 0;
    assert.deepEqual(await readFile(join(await resolve('config'), 'config.json')), FILES['config.json']);
  });

  test('a revision that would leave the cache', async (t) => {
    const { resolve } = await hubTest(t);
    await assert.rejects(resolve('config', '../../x'), {
      code: 'INVALID_OPTION',
      message: /--revision must be a branch/,
    });
  });

  for (const name of ['./none', '/none/at/all', 'a/b/c', 'owner/../x', '']) {
    test(`"${name}" is no hub id`, async () => {
      const resolved = resolveModelDirectory(name, { revision: 'main', what: 'model', env: {} });
      await assert.rejects(
        resolved,
        expected(/^Folder .*does not exist \(and it is no hub id of the form owner\/name\)/),
      );
    });
  }
});

describe('offline', () => {
  async function cached(t: TestContext) {
    const cache = await temporaryDirectory(t);
    const repository = join(cache, 'models--owner--tiny');
    const snapshot = join(repository, 'snapshots', HUB_COMMIT);
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(repository, 'refs'));
    await writeFile(join(repository, 'refs', 'main'), HUB_COMMIT);
    for (const [name, bytes] of Object.entries(FILES)) await writeFile(join(snapshot, name), bytes);
    const env: Record<string, string> = { HF_HUB_CACHE: cache, HF_HUB_OFFLINE: '1', HF_ENDPOINT: 'http://127.0.0.1:9' };
    const resolve = (revision: string) => resolveModelDirectory(ID, { revision, what: 'model', env });
    return { cache, repository, snapshot, env, resolve };
  }

  test('by branch, by commit, by the start of a commit', async (t) => {
    const { snapshot, resolve } = await cached(t);
    for (const revision of ['main', HUB_COMMIT, HUB_COMMIT.slice(0, 10)])
      assert.equal(await resolve(revision), snapshot);
  });

  test('the start of a commit must be unique', async (t) => {
    const { repository, snapshot, resolve } = await cached(t);
    await cp(snapshot, join(repository, 'snapshots', `${'a'.repeat(39)}b`), { recursive: true });
    await assert.rejects(resolve('aaaaaaaaaa'), { code: 'MODEL_NOT_FOUND' });
    assert.equal(await resolve('main'), snapshot);
  });

  test('what is not in the cache is refused, with the reason', async (t) => {
    const { cache, snapshot, env, resolve } = await cached(t);
    const message = /\(revision v2\) is neither a folder nor in the Hugging Face cache .*HF_HUB_OFFLINE forbids/;
    await assert.rejects(resolve('v2'), { code: 'MODEL_NOT_FOUND', message });
    const other = resolveModelDirectory('owner/other', { revision: 'main', what: 'model', env });
    await assert.rejects(other, { code: 'MODEL_NOT_FOUND', message: new RegExp(cache) });
    await rm(join(snapshot, 'model.safetensors'));
    await rm(join(snapshot, 'consolidated.safetensors'));
    await assert.rejects(resolve('main'), { code: 'MODEL_NOT_FOUND' });
  });

  test('a local folder needs no cache', async (t) => {
    const directory = await temporaryDirectory(t);
    const resolved = resolveModelDirectory(directory, {
      revision: 'main',
      what: 'model',
      env: { HF_HUB_OFFLINE: 'yes' },
    });
    assert.equal(await resolved, directory);
  });

  test('the cache folder by environment', async (t) => {
    const { cache, snapshot } = await cached(t);
    const home = await temporaryDirectory(t);
    await cp(cache, join(home, 'huggingface', 'hub'), { recursive: true });
    const at = (env: Record<string, string>) =>
      resolveModelDirectory(ID, { revision: 'main', what: 'model', env: { ...env, HF_HUB_OFFLINE: 'TRUE' } });
    const inHome = join(home, 'huggingface', 'hub', 'models--owner--tiny', 'snapshots', HUB_COMMIT);
    assert.equal(await at({ XDG_CACHE_HOME: home }), inHome);
    assert.equal(await at({ HF_HOME: join(home, 'huggingface') }), inHome);
    assert.equal(await at({ HUGGINGFACE_HUB_CACHE: cache, HF_HOME: home }), snapshot);
    assert.equal(await at({ HF_HUB_CACHE: cache, HUGGINGFACE_HUB_CACHE: home }), snapshot);
  });
});

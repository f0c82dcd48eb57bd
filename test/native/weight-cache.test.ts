// Every reference model from memory, from a cache that it writes, and from one that it maps: the same bits, on every
// instruction set.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { describe, type TestContext, test } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import type { DType } from '#vitrine/native/addon.js';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel, REFERENCE_MODELS, readReference } from '../reference/reference-files.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

/** A prompt and eight greedy tokens: all logits of the prompt's last position, the tokens, and the bytes of the weights. */
async function run(name: string, cpuIsa: string, dtype: DType, weightCacheDir?: string) {
  const model = await prepareReferenceModel(name, { dtype, ...(weightCacheDir !== undefined && { weightCacheDir }) });
  const engine = new TestEngine(model, { cpuIsa });
  try {
    const { prompt_ids: prompt } = readReference(name).cases[0]!;
    const sequence = new TestSequence(0, engine.blocksFor(0, prompt.length + 8));
    const prefill = await engine.step([sequence.next(prompt, { flags: REQUEST_FLAG.returnLogits })]);
    const tokens = [prefill.ints('sampledIds')[0]!];
    while (tokens.length < 8) tokens.push((await engine.step([sequence.decode()])).ints('sampledIds')[0]!);
    const { weightBytes } = engine.engine.memoryInfo();
    return { origin: engine.origin, logits: Array.from(prefill.logits(0)), tokens, weightBytes };
  } finally {
    engine.close();
  }
}

async function checkModel(t: TestContext, name: string, cpuIsa: string, dtype: DType): Promise<void> {
  const directory = await temporaryDirectory(t);
  const { origin, ...expected } = await run(name, cpuIsa, dtype);
  assert.deepEqual(origin, { place: 'memory', path: '', problem: '' });
  for (const place of ['written', 'mapped', 'mapped'] as const) {
    const { origin, ...result } = await run(name, cpuIsa, dtype, directory);
    assert.equal(origin.place, place);
    assert.equal(origin.problem, '');
    assert.ok(origin.path.startsWith(`${directory}/`));
    assert.deepEqual(result, expected);
  }
  assert.equal((await readdir(directory)).filter((file) => file.endsWith('.weights')).length, 1);
}

for (const cpuIsa of loadAddon().buildInfo().cpuIsas) {
  describe(`weight cache, ${cpuIsa}`, () => {
    for (const name of REFERENCE_MODELS) test(name, (t) => checkModel(t, name, cpuIsa, 'float32'));
    for (const dtype of ['bfloat16', 'float16'] as const) {
      test(`tiny-mixtral, ${dtype}`, (t) => checkModel(t, 'tiny-mixtral', cpuIsa, dtype));
    }
  });
}

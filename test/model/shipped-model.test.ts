// models/stories260K, which is part of the package.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { prepareModel } from '#vitrine/model/prepare-model.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { ENGINE_DEFAULTS, modelDirectory } from '../reference/reference-files.js';

const shipped = fileURLToPath(new URL('../../models/stories260K', import.meta.url));

test('is complete, and is the model that the reference outputs were made with', async () => {
  const prepared = await prepareModel({ ...ENGINE_DEFAULTS, modelPath: shipped });
  const tokenizer = await Tokenizer.load(shipped);
  assert.equal(prepared.architecture, 'LlamaForCausalLM');
  assert.equal(tokenizer.vocabSize, prepared.spec.vocabSize);
  for (const name of [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]) {
    const bytes = await readFile(join(shipped, name));
    assert.ok(bytes.equals(await readFile(join(modelDirectory('stories260K'), name))), name);
  }
});

// What a server tells of its model.
import assert from 'node:assert/strict';
import { relative, resolve } from 'node:path';
import { test } from 'node:test';
import { describeModel } from '#vitrine/server/served-model.js';
import { fakePreparedModel } from '../support/fake-prepared-model.js';

const describe = (modelPath: string, tokenizerPath?: string) =>
  describeModel(fakePreparedModel(), { modelPath, tokenizerPath, servedModelName: undefined });

test('the tokenizer’s folder is named so that it is found from any other folder', () => {
  const folder = resolve('test');
  const given = relative(process.cwd(), folder);
  assert.equal(describe(given).path, given);
  assert.equal(describe(given).tokenizerPath, folder);
  assert.equal(describe('models/x', given).tokenizerPath, folder);
  assert.equal(describe('Qwen/Qwen3-0.6B').tokenizerPath, 'Qwen/Qwen3-0.6B');
});

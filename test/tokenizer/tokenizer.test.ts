import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Tokenizer as LibraryTokenizer } from 'tokenizers';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { modelDirectory, REFERENCE_MODELS, readReference } from '../reference/reference-files.js';
import { createRandom } from '../support/random.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readVectors, unpackTokenizer } from './tokenizer-fixtures.js';
import { wordLevelJson } from './tokenizer-json.js';

const EXPECTED = {
  qwen3: { vocabSize: 151669, bos: undefined, eos: [151645] },
  llama2: { vocabSize: 32000, bos: 1, eos: [2] },
  gpt2: { vocabSize: 50257, bos: 50256, eos: [50256] },
};

for (const [name, expected] of Object.entries(EXPECTED)) {
  describe(name, () => {
    let tokenizer: Tokenizer;
    let library: LibraryTokenizer;
    before(async () => {
      const { directory, remove } = await unpackTokenizer(name);
      after(remove);
      tokenizer = await Tokenizer.load(directory);
      library = LibraryTokenizer.fromFile(join(directory, 'tokenizer.json'));
    });

    test('vocabulary and named tokens', () => {
      assert.equal(tokenizer.vocabSize, expected.vocabSize);
      assert.equal(tokenizer.bosTokenId, expected.bos);
      assert.deepEqual(tokenizer.eosTokenIds, expected.eos);
      for (const id of expected.eos) assert.ok(tokenizer.specialIds.has(id));
    });

    test('encodes and decodes as transformers', async () => {
      for (const vector of readVectors(name).vectors) {
        assert.deepEqual(await tokenizer.encode(vector.text, true), vector.ids_with_special, vector.text);
        assert.deepEqual(await tokenizer.encode(vector.text, false), vector.ids_without_special, vector.text);
        assert.equal(tokenizer.decode(vector.ids_without_special, false), vector.decoded_without_special);
        assert.equal(tokenizer.decode(vector.ids_with_special, false), vector.decoded_with_special);
        assert.equal(tokenizer.decode(vector.ids_with_special, true), vector.decoded_skip_special);
      }
    });

    test('decodes any ids as the library', async () => {
      const random = createRandom(1);
      for (let round = 0; round < 300; round++) {
        const length = Math.floor(random() * 24);
        // Small ids are the single bytes and the special tokens: where the difficulties are.
        const range = round % 2 === 0 ? 300 : tokenizer.vocabSize + 50;
        const start = round % 4 === 0 ? tokenizer.vocabSize - 250 : 0;
        const ids = Array.from({ length }, () => start + Math.floor(random() * range));
        for (const skip of [true, false]) {
          assert.equal(tokenizer.decode(ids, skip), await library.decode(ids, skip), `ids ${ids.join(' ')}`);
        }
      }
    });

    test('every single token decodes as in the library', () => {
      const decoder = library.getDecoder()!;
      for (let id = 0; id < tokenizer.vocabSize; id += name === 'qwen3' ? 7 : 1) {
        assert.equal(tokenizer.decode([id], false), decoder.decode([library.idToToken(id)!]), `id ${id}`);
      }
    });

    test('ids without a token give nothing', () => {
      assert.equal(tokenizer.decode([tokenizer.vocabSize, 10_000_000], false), '');
      assert.equal(tokenizer.tokenText(tokenizer.vocabSize), '');
    });
  });
}

for (const name of REFERENCE_MODELS) {
  test(`${name}: decodes any ids as the library`, async () => {
    const tokenizer = await Tokenizer.load(modelDirectory(name));
    const library = LibraryTokenizer.fromFile(join(modelDirectory(name), 'tokenizer.json'));
    const random = createRandom(2);
    for (let round = 0; round < 200; round++) {
      const ids = Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 512));
      for (const skip of [true, false]) assert.equal(tokenizer.decode(ids, skip), await library.decode(ids, skip));
    }
  });
}

test('the reference stories of stories260K', async () => {
  const tokenizer = await Tokenizer.load(modelDirectory('stories260K'));
  for (const expected of readReference('stories260K').text_cases!) {
    assert.deepEqual(await tokenizer.encode(expected.prompt, true), expected.prompt_ids);
    assert.equal(tokenizer.decode(expected.greedy_ids, true), expected.greedy_text);
    assert.equal(tokenizer.decode([...expected.prompt_ids, ...expected.greedy_ids], true), expected.full_text);
  }
});

test('the text of one token keeps its leading space', async () => {
  const stories = await Tokenizer.load(modelDirectory('stories260K'));
  const [the] = (await stories.encode('the', false)).slice(-1);
  assert.equal(stories.tokenText(the!), ' the');
  assert.equal(stories.decode([the!], false), 'the');
  assert.equal(stories.tokenText(1), '<s>');
  assert.equal(stories.tokenText(13), '\n');
  assert.equal(stories.tokenText(3 + 0xe2), '\ufffd');
});

test('special tokens in the text become their ids', async () => {
  const tokenizer = await Tokenizer.load(modelDirectory('tiny-qwen3'));
  const ids = await tokenizer.encode('<|im_start|>user<|im_end|>', false);
  assert.deepEqual([ids[0], ids.at(-1)], [510, 511]);
  assert.equal(tokenizer.decode(ids, true), 'user');
});

test('a lone surrogate becomes a replacement character, as in any UTF-8 text', async () => {
  const tokenizer = await Tokenizer.load(modelDirectory('tiny-qwen3'));
  assert.equal(tokenizer.decode(await tokenizer.encode('a\ud800b', false), false), 'a\ufffdb');
});

describe('tokenizer_config.json', () => {
  async function load(t: Parameters<typeof temporaryDirectory>[0], files: Record<string, unknown>) {
    const directory = await temporaryDirectory(t);
    const all: Record<string, unknown> = { 'tokenizer.json': wordLevelJson(['a', 'b', 'c']), ...files };
    for (const [name, value] of Object.entries(all)) await writeFile(join(directory, name), JSON.stringify(value));
    return Tokenizer.load(directory);
  }

  test('is not needed', async (t) => {
    const tokenizer = await load(t, {});
    assert.deepEqual([tokenizer.bosTokenId, tokenizer.eosTokenIds, tokenizer.vocabSize], [undefined, [], 3]);
  });

  test('named tokens as strings or objects; special_tokens_map.json fills in', async (t) => {
    const tokenizer = await load(t, {
      'tokenizer_config.json': { bos_token: { content: 'b', lstrip: false } },
      'special_tokens_map.json': { bos_token: 'a', eos_token: 'c' },
    });
    assert.deepEqual([tokenizer.bosTokenId, tokenizer.eosTokenIds], [1, [2]]);
  });

  test('a named token that does not exist has no id', async (t) => {
    const tokenizer = await load(t, { 'tokenizer_config.json': { bos_token: '<s>', eos_token: null } });
    assert.deepEqual([tokenizer.bosTokenId, tokenizer.eosTokenIds], [undefined, []]);
  });

  test('added tokens that tokenizer.json lacks', async (t) => {
    const added_tokens_decoder = {
      '4': { content: '<y>', special: true },
      '3': { content: '<x>', special: false },
      '0': { content: 'a', special: true },
    };
    const tokenizer = await load(t, { 'tokenizer_config.json': { added_tokens_decoder, eos_token: '<y>' } });
    assert.deepEqual(await tokenizer.encode('a<x>b<y>', false), [0, 3, 1, 4]);
    assert.deepEqual([...tokenizer.specialIds], [4]);
    assert.deepEqual([tokenizer.vocabSize, tokenizer.eosTokenIds], [5, [4]]);
    assert.equal(tokenizer.decode([0, 3, 4], true), 'a <x>');
  });

  test('truncation and padding in tokenizer.json never touch a prompt', async (t) => {
    const json = {
      ...wordLevelJson(['a', 'b']),
      truncation: { direction: 'Right', max_length: 2, strategy: 'LongestFirst', stride: 0 },
      padding: {
        strategy: { Fixed: 8 },
        direction: 'Right',
        pad_to_multiple_of: null,
        pad_id: 0,
        pad_type_id: 0,
        pad_token: 'a',
      },
    };
    const tokenizer = await load(t, { 'tokenizer.json': json });
    assert.deepEqual(await tokenizer.encode('a b a b', true), [0, 1, 0, 1]);
  });
});

test('a folder without a usable tokenizer.json is refused', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'tokenizer.json');
  const refused = (message: RegExp) =>
    assert.rejects(Tokenizer.load(directory), { code: 'TOKENIZER_INVALID', message });
  await refused(/tokenizer\.json: does not exist\. A "fast" tokenizer is needed; .*save_pretrained/);
  await writeFile(path, '{');
  await refused(/tokenizer\.json is not valid JSON/);
  await writeFile(path, '3');
  await refused(/tokenizer\.json must hold a JSON object/);
  await writeFile(path, '{}');
  await refused(/tokenizer\.json is not a tokenizer/);
  await writeFile(path, JSON.stringify(wordLevelJson(['a'])));
  await writeFile(join(directory, 'tokenizer_config.json'), '[]');
  await refused(/tokenizer_config\.json must hold a JSON object, got an array/);
});

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { IncrementalDetokenizer } from '#vitrine/tokenizer/incremental-detokenizer.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { modelDirectory } from '../reference/reference-files.js';
import { createRandom } from '../support/random.js';
import { readVectors, unpackTokenizer } from './tokenizer-fixtures.js';

function detokenizer(tokenizer: Tokenizer, skipSpecialTokens: boolean, precedingIds: readonly number[] = []) {
  return new IncrementalDetokenizer(tokenizer, { skipSpecialTokens, spacesBetweenSpecialTokens: true, precedingIds });
}

function streamed(tokenizer: Tokenizer, ids: readonly number[], skip: boolean): string {
  const stream = detokenizer(tokenizer, skip);
  return ids.map((id) => stream.push(id)).join('') + stream.flush();
}

for (const name of ['qwen3', 'llama2', 'gpt2']) {
  describe(name, () => {
    let tokenizer: Tokenizer;
    before(async () => {
      const { directory, remove } = await unpackTokenizer(name);
      after(remove);
      tokenizer = await Tokenizer.load(directory);
    });

    test('the vectors, joined, are the full decode', () => {
      for (const vector of readVectors(name).vectors) {
        assert.equal(streamed(tokenizer, vector.ids_with_special, false), vector.decoded_with_special);
        assert.equal(streamed(tokenizer, vector.ids_with_special, true), vector.decoded_skip_special);
      }
    });

    test('no U+FFFD ever shows for a character split over tokens', () => {
      for (const { text, ids_without_special: ids } of readVectors(name).vectors) {
        if (text.includes('\ufffd')) continue;
        const stream = detokenizer(tokenizer, false);
        for (const id of ids) assert.ok(!stream.push(id).includes('\ufffd'), text);
        assert.equal(stream.flush(), '');
      }
    });

    test('random ids, joined, are the full decode', () => {
      const random = createRandom(5);
      for (let round = 0; round < 500; round++) {
        const range = round % 2 === 0 ? 400 : tokenizer.vocabSize + 20;
        const ids = Array.from({ length: Math.floor(random() * 30) }, () => Math.floor(random() * range));
        for (const skip of [true, false]) {
          const whole = tokenizer.decode(ids, skip);
          // Broken runs of byte tokens are the documented exception (see decoders.test.ts).
          if (name === 'llama2' && whole.includes('\ufffd')) continue;
          assert.equal(streamed(tokenizer, ids, skip), whole, `ids ${ids.join(' ')}`);
        }
      }
    });

    test('what is cut in the middle of a character is flushed as U+FFFD', async () => {
      const ids = await tokenizer.encode('x𝔘', false);
      const stream = detokenizer(tokenizer, false);
      const text = ids
        .slice(0, -1)
        .map((id) => stream.push(id))
        .join('');
      assert.equal(text, 'x');
      assert.match(stream.flush(), /^\ufffd+$/);
      assert.equal(stream.flush(), '', 'only once');
    });
  });
}

describe('the leading space of sentencepiece models', async () => {
  const tokenizer = await Tokenizer.load(modelDirectory('stories260K'));
  const prompt = await tokenizer.encode('Once upon', true);
  const [word] = await tokenizer.encode('a', false);

  test('is dropped at the start of a text', () => {
    assert.equal(detokenizer(tokenizer, true).push(word!), 'a');
    assert.equal(detokenizer(tokenizer, true, [1]).push(word!), 'a', 'a skipped bos is no text');
  });

  test('stays after a prompt', () => {
    assert.equal(detokenizer(tokenizer, true, prompt).push(word!), ' a');
    assert.equal(detokenizer(tokenizer, false, [1]).push(word!), ' a', 'a shown bos is text');
  });

  test('is dropped once only', () => {
    const stream = detokenizer(tokenizer, true);
    assert.deepEqual([stream.push(word!), stream.push(word!)], ['a', ' a']);
  });
});

test('skipped special tokens give nothing and do not end a character', async () => {
  const tokenizer = await Tokenizer.load(modelDirectory('tiny-qwen3'));
  const ids = await tokenizer.encode('é', false);
  assert.equal(ids.length, 2, 'the character takes two tokens');
  const stream = detokenizer(tokenizer, true);
  assert.deepEqual([stream.push(ids[0]!), stream.push(511), stream.push(ids[1]!)], ['', '', 'é']);
  const shown = detokenizer(tokenizer, false);
  assert.deepEqual([shown.push(ids[0]!), shown.push(511)], ['', '\ufffd<|im_end|>']);
});

test('a token longer than any before it', async () => {
  const tokenizer = await Tokenizer.load(modelDirectory('tiny-qwen3'));
  const ids = await tokenizer.encode(`${'x'.repeat(500)}é`, false);
  assert.equal(streamed(tokenizer, ids, false), `${'x'.repeat(500)}é`);
});

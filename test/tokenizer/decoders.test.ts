// Every decoder of tokenizer.json that we rebuild, and those left to the library, against the library itself.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Tokenizer as LibraryTokenizer } from 'tokenizers';
import { IncrementalDetokenizer } from '#vitrine/tokenizer/incremental-detokenizer.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { createRandom } from '../support/random.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { unigramJson, wordLevelJson } from './tokenizer-json.js';

const BYTES = ['<0x0A>', '<0x20>', '<0x41>', '<0xC3>', '<0xA9>', '<0xE2>', '<0x82>', '<0xAC>', '<0xFF>', '<0xZZ>'];
const PIECES = ['<unk>', '▁', '▁▁', '▁the', 'cat', 'a▁b', '##ing', 'low</w>', 'ab$1', '', 'Ġhi', ' ', ...BYTES];

const replace = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
const fallback = { type: 'ByteFallback' };
const fuse = { type: 'Fuse' };
const strip = (start: number, stop = 0) => ({ type: 'Strip', content: ' ', start, stop });
const sequence = (...decoders: unknown[]) => ({ type: 'Sequence', decoders });
const metaspace = (prepend_scheme: string) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split: true });

const OURS: [string, unknown][] = [
  ['no decoder', null],
  ['ByteLevel', { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true }],
  ['sentencepiece', sequence(replace, fallback, fuse, strip(1))],
  ['sentencepiece without Strip', sequence(replace, fallback, fuse)],
  ['sentencepiece without Fuse', sequence(replace, fallback)],
  ['sentencepiece, nested', sequence(sequence(replace, fallback), sequence(fuse, strip(1)))],
  ['two spaces stripped', sequence(replace, fallback, fuse, strip(2))],
  ['two replacements', sequence(replace, { ...replace, pattern: { String: 'a b' }, content: '$&' }, fallback, fuse)],
  ['no byte fallback', sequence(replace, fuse, strip(1))],
  ['ByteFallback alone', fallback],
  ['Fuse alone', fuse],
  ['Metaspace always', metaspace('always')],
  ['Metaspace first', metaspace('first')],
  ['Metaspace never', metaspace('never')],
];

const LIBRARY: [string, unknown][] = [
  ['WordPiece', { type: 'WordPiece', prefix: '##', cleanup: true }],
  ['BPEDecoder', { type: 'BPEDecoder', suffix: '</w>' }],
  ['a regular expression', sequence({ ...replace, pattern: { Regex: '▁+' } }, fuse)],
  ['Strip without Fuse', sequence(replace, fallback, strip(1))],
  ['another order', sequence(fallback, replace, fuse)],
];

async function load(t: TestContext, json: unknown) {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'tokenizer.json');
  await writeFile(path, JSON.stringify(json));
  return { tokenizer: await Tokenizer.load(directory), library: LibraryTokenizer.fromFile(path) };
}

function randomIds(random: () => number): number[] {
  // Most often ids that are likely to interact; now and then one without a token.
  return Array.from({ length: Math.floor(random() * 10) }, () => Math.floor(random() * (PIECES.length + 1)));
}

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string {
  const detokenizer = new IncrementalDetokenizer(tokenizer, {
    skipSpecialTokens: false,
    spacesBetweenSpecialTokens: true,
  });
  return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
}

for (const [name, decoder] of [...OURS, ...LIBRARY]) {
  test(`${name}: as the library`, async (t) => {
    const { tokenizer, library } = await load(t, wordLevelJson(PIECES, decoder));
    const random = createRandom(3);
    for (let round = 0; round < 400; round++) {
      const ids = randomIds(random);
      assert.equal(tokenizer.decode(ids, false), await library.decode(ids, false), `ids ${ids.join(' ')}`);
    }
  });
}

/** Ids whose byte runs are all well-formed: there the stream must equal the whole. */
function withoutBrokenRuns(tokenizer: Tokenizer, ids: readonly number[]): boolean {
  return !tokenizer.decode(ids, false).includes('\ufffd');
}

for (const [name, decoder] of [...OURS, ...LIBRARY.filter(([name]) => !name.startsWith('Strip'))]) {
  test(`${name}: streamed as decoded`, async (t) => {
    const { tokenizer } = await load(t, wordLevelJson(PIECES, decoder));
    const random = createRandom(4);
    let compared = 0;
    for (let round = 0; round < 600; round++) {
      const ids = randomIds(random);
      if (!withoutBrokenRuns(tokenizer, ids)) continue;
      assert.equal(streamed(tokenizer, ids), tokenizer.decode(ids, false), `ids ${ids.join(' ')}`);
      compared++;
    }
    assert.ok(compared > 150, `${compared} compared`);
  });
}

test('Strip at the end of a text is refused: it cannot be streamed', async (t) => {
  await assert.rejects(load(t, wordLevelJson(PIECES, sequence(replace, fallback, fuse, strip(0, 1)))), {
    code: 'TOKENIZER_INVALID',
    message: /decoder Strip with "stop" above 0 is not supported/,
  });
});

test('a Unigram vocabulary', async (t) => {
  const { tokenizer, library } = await load(t, unigramJson(['<unk>', '▁a', 'b', '▁'], metaspace('always')));
  assert.equal(tokenizer.vocabSize, 4);
  for (const ids of [[1, 2, 1], [3, 1], [], [3, 3]]) {
    assert.equal(tokenizer.decode(ids, false), await library.decode(ids, false));
  }
});

test('a Metaspace decoder of old files, with add_prefix_space', async (t) => {
  const old = { type: 'Metaspace', replacement: '▁', add_prefix_space: true };
  const { tokenizer, library } = await load(t, unigramJson(['<unk>', '▁a'], old));
  assert.equal(tokenizer.decode([1, 1], false), 'a a');
  assert.equal(tokenizer.decode([1, 1], false), await library.decode([1, 1], false));
});

describe('a byte run that breaks', () => {
  const id = (piece: string) => PIECES.indexOf(piece);
  const pushed = (tokenizer: Tokenizer, pieces: readonly string[]) => {
    const stream = tokenizer.stream(true);
    return [...pieces.map((piece) => stream.push(id(piece))), stream.flush()];
  };
  const sentencepiece = wordLevelJson(PIECES, sequence(replace, fallback, fuse, strip(1)));

  test('keeps the characters that were complete, where the whole decodes to nothing but U+FFFD', async (t) => {
    const { tokenizer } = await load(t, sentencepiece);
    const euro = ['<0xE2>', '<0x82>', '<0xAC>'];
    assert.deepEqual(pushed(tokenizer, [...euro, '<0xFF>', '<0x41>', 'cat', '<0x41>']), [
      '',
      '',
      '€',
      '\ufffd',
      '\ufffd',
      'cat',
      'A',
      '',
    ]);
    const ids = [...euro, '<0xFF>', '<0x41>', 'cat', '<0x41>'].map(id);
    assert.equal(tokenizer.decode(ids, false), `${'\ufffd'.repeat(5)}catA`);
  });

  test('gives one U+FFFD per byte of an unfinished character', async (t) => {
    const { tokenizer } = await load(t, sentencepiece);
    assert.deepEqual(pushed(tokenizer, ['<0xE2>', '<0x82>', 'cat']), ['', '', '\ufffd\ufffdcat', '']);
    assert.deepEqual(pushed(tokenizer, ['<0xE2>', '<0x82>']), ['', '', '\ufffd\ufffd']);
    assert.deepEqual(pushed(tokenizer, ['<0xE2>', '<0x41>']), ['', '\ufffd\ufffd', '']);
  });

  test('newlines come at once', async (t) => {
    const { tokenizer } = await load(t, sentencepiece);
    assert.deepEqual(pushed(tokenizer, ['cat', '<0x0A>', '<0x0A>', '▁the']), ['cat', '\n', '\n', ' the', '']);
  });
});

// Datasets: SGLang's length rules, determinism, and rows that cannot be used.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { customWorkload } from '#vitrine/bench/datasets/custom.js';
import { readJsonArray } from '#vitrine/bench/datasets/json-array.js';
import { readJsonLines } from '#vitrine/bench/datasets/json-lines.js';
import { loadWorkload } from '#vitrine/bench/datasets/load-workload.js';
import type { QuestionSettings } from '#vitrine/bench/datasets/questions.js';
import { randomWorkload } from '#vitrine/bench/datasets/random.js';
import { randomIdsWorkload } from '#vitrine/bench/datasets/random-ids.js';
import { drawLengths } from '#vitrine/bench/datasets/random-lengths.js';
import { RowCounter } from '#vitrine/bench/datasets/row-counter.js';
import { shareGptWorkload } from '#vitrine/bench/datasets/sharegpt.js';
import { findShareGpt, readShareGpt } from '#vitrine/bench/datasets/sharegpt-file.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { VitrineError } from '#vitrine/util/errors.js';

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const SMALL = fixture('datasets/sharegpt_small.json');
const EDGE = fixture('datasets/sharegpt_edge.json');

let tokenizer: Tokenizer;
before(async () => {
  tokenizer = await Tokenizer.load(fixture('models/stories260K'));
});

const RANDOM = { numPrompts: 20, seed: 1, inputLen: 50, outputLen: 9, rangeRatio: 0, tokenizePrompt: false };
const SHAREGPT: QuestionSettings = {
  numPrompts: 10,
  seed: 1,
  outputLen: undefined,
  contextLen: undefined,
  promptSuffix: '',
  chatTemplate: undefined,
};

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'vitrine-datasets-'));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('lengths', () => {
  test('are uniform from the ratio’s share of the longest up to it', () => {
    const { inputs, outputs } = drawLengths({ ...RANDOM, numPrompts: 5000, rangeRatio: 0.5, tokenizePrompt: true }, 1);
    assert.deepEqual([Math.min(...inputs), Math.max(...inputs)], [25, 50]);
    assert.deepEqual([Math.min(...outputs), Math.max(...outputs)], [4, 9]);
    const mean = inputs.reduce((sum, length) => sum + length, 0) / inputs.length;
    assert.ok(Math.abs(mean - 37.5) < 0.5, String(mean));
  });

  test('ratio 0 begins at 1, ratio 1 is exact', () => {
    const zero = drawLengths({ ...RANDOM, numPrompts: 5000, tokenizePrompt: true }, 1);
    assert.deepEqual([Math.min(...zero.inputs), Math.max(...zero.inputs)], [1, 50]);
    const one = drawLengths({ ...RANDOM, rangeRatio: 1, tokenizePrompt: true }, 1);
    assert.ok(one.inputs.every((length) => length === 50) && one.outputs.every((length) => length === 9));
  });

  test('text prompts leave room for the special tokens, and are never empty', () => {
    const exact = drawLengths({ ...RANDOM, rangeRatio: 1 }, 3);
    assert.ok(exact.inputs.every((length) => length === 47));
    assert.ok(drawLengths({ ...RANDOM, inputLen: 1 }, 3).inputs.every((length) => length === 1));
  });
});

describe('random', () => {
  test('vocabulary text has exactly the promised tokens', async () => {
    const { requests } = await randomWorkload(tokenizer, '', RANDOM);
    assert.equal(requests.length, 20);
    for (const { prompt, promptLen } of requests) {
      assert.equal(typeof prompt, 'string');
      assert.equal((await tokenizer.encode(prompt as string, false)).length, promptLen);
    }
    const wanted = drawLengths(RANDOM, 1).inputs;
    assert.deepEqual(
      requests.map((request) => request.promptLen),
      wanted,
    );
  });

  test('also very short ones, for tokenizers that put a space before a text and for others', async () => {
    for (const name of ['stories260K', 'tiny-qwen2']) {
      const other = await Tokenizer.load(fixture(`models/${name}`));
      const settings = { ...RANDOM, numPrompts: 300, inputLen: 5, tokenizePrompt: true };
      const { requests } = await randomWorkload(other, '', settings);
      assert.deepEqual(
        requests.map(({ promptLen }) => promptLen),
        drawLengths(settings, 0).inputs,
        name,
      );
    }
  });

  test('the same seed gives the same requests', async () => {
    for (const path of ['', SMALL]) {
      const first = await randomWorkload(tokenizer, path, RANDOM);
      assert.deepEqual(await randomWorkload(tokenizer, path, RANDOM), first);
      assert.notDeepEqual(await randomWorkload(tokenizer, path, { ...RANDOM, seed: 2 }), first);
    }
  });

  test('ids on request', async () => {
    const { requests } = await randomWorkload(tokenizer, '', { ...RANDOM, tokenizePrompt: true });
    for (const { prompt, promptLen } of requests) {
      assert.ok(Array.isArray(prompt));
      assert.equal(prompt.length, promptLen);
    }
  });

  test('ShareGPT text is repeated and cut to the length; few rows give few requests', async () => {
    const settings = { ...RANDOM, numPrompts: 100, inputLen: 2000, rangeRatio: 1, tokenizePrompt: true };
    const { requests } = await randomWorkload(tokenizer, SMALL, settings);
    assert.equal(requests.length, 30);
    let repeated = 0;
    for (const { prompt } of requests) {
      assert.equal(prompt.length, 2000);
      const ids = prompt as readonly number[];
      // A prompt begins with bos, which comes back where it repeats.
      const period = ids.indexOf(ids[0]!, 1);
      if (period < 0) continue;
      repeated += 1;
      ids.forEach((id, j) => {
        assert.equal(id, ids[j % period]);
      });
    }
    assert.ok(repeated > 20, `${repeated} of 30 prompts are repeated`);
  });

  test('random-ids: consecutive ids from a random start', async () => {
    const { requests } = await randomIdsWorkload(tokenizer, { ...RANDOM, tokenizePrompt: true });
    for (const { prompt } of requests) {
      const ids = prompt as readonly number[];
      ids.forEach((id, j) => {
        assert.equal(id, (ids[0]! + j) % tokenizer.vocabSize);
      });
    }
    const text = await randomIdsWorkload(tokenizer, RANDOM);
    assert.ok(text.requests.every(({ prompt }) => typeof prompt === 'string'));
  });
});

describe('sharegpt', () => {
  test('prompts are first turns, output lengths those of the answers', async () => {
    const { requests, skipped } = await shareGptWorkload(tokenizer, SMALL, SHAREGPT);
    assert.equal(requests.length, 10);
    assert.deepEqual(skipped, {});
    const conversations = await readShareGpt(SMALL, new RowCounter());
    for (const { prompt, promptLen, outputLen } of requests) {
      const source = conversations.find(({ question }) => question === prompt);
      assert.ok(source !== undefined);
      assert.equal(promptLen, (await tokenizer.encode(source.question, true)).length);
      assert.equal(outputLen, (await tokenizer.encode(source.answer, true)).length);
    }
    assert.deepEqual((await shareGptWorkload(tokenizer, SMALL, SHAREGPT)).requests, requests);
    assert.notDeepEqual((await shareGptWorkload(tokenizer, SMALL, { ...SHAREGPT, seed: 2 })).requests, requests);
  });

  test('fixed output length, context limit, suffix', async () => {
    const { requests, skipped } = await shareGptWorkload(tokenizer, SMALL, {
      ...SHAREGPT,
      numPrompts: 100,
      outputLen: 16,
      contextLen: 200,
      promptSuffix: ' Be brief. ',
    });
    assert.ok(requests.length > 0 && requests.length < 30);
    assert.equal(skipped['longer than --sharegpt-context-len'], 30 - requests.length);
    for (const { prompt, promptLen, outputLen } of requests) {
      assert.equal(outputLen, 16);
      assert.ok(promptLen + 16 <= 200);
      assert.ok((prompt as string).endsWith(' Be brief. Assistant:'));
    }
  });

  test('odd rows are left out and counted, the rest is used', async () => {
    const { requests, skipped } = await shareGptWorkload(tokenizer, EDGE, { ...SHAREGPT, numPrompts: 100 });
    const left = Object.values(skipped).reduce((sum, count) => sum + count, 0);
    assert.equal(requests.length + left, 20);
    assert.equal(skipped['fewer than two turns'], 3);
    assert.equal(skipped['no list of conversations'], 2);
    assert.equal(skipped['a turn without text'], 3);
    assert.ok(requests.some(({ prompt }) => prompt === 'This row has no id.'));
  });

  test('is found in the Hugging Face cache, else the message says how to get it', () =>
    withFolder(async (folder) => {
      const environment = { HF_HOME: folder };
      await assert.rejects(findShareGpt('', environment), (error) => {
        assert.ok(error instanceof VitrineError);
        assert.match(error.message, /--dataset-path.*hf download --repo-type dataset anon8231489123/);
        return true;
      });
      const name = 'datasets--anon8231489123--ShareGPT_Vicuna_unfiltered';
      const snapshot = join(folder, 'hub', name, 'snapshots', 'abc');
      await mkdir(snapshot, { recursive: true });
      const file = join(snapshot, 'ShareGPT_V3_unfiltered_cleaned_split.json');
      await writeFile(file, '[]');
      assert.equal(await findShareGpt('', environment), file);
      assert.equal(await findShareGpt('given.json', environment), 'given.json');
    }));
});

describe('custom', () => {
  const CUSTOM = fixture('datasets/custom_edge.jsonl');

  test('the rules of sharegpt over JSON lines; odd rows are left out and counted', async () => {
    const { requests, skipped } = await customWorkload(tokenizer, CUSTOM, { ...SHAREGPT, numPrompts: 100 });
    assert.deepEqual(requests.map(({ prompt }) => prompt).sort(), [
      'A line separator \u2028 inside a string.',
      'Content wins.',
      'Where does the river end?',
      'Who lives in the old house?',
    ]);
    const river = requests.find(({ prompt }) => prompt === 'Where does the river end?')!;
    assert.equal(river.outputLen, (await tokenizer.encode('It ends in the sea, behind the last hill.', true)).length);
    assert.deepEqual(skipped, {
      'not valid JSON': 2,
      'no list of conversations': 2,
      'a turn without text': 2,
      'fewer than two turns': 1,
      'row is not an object': 1,
      'prompt or answer shorter than two tokens': 1,
    });
  });

  test('is shuffled by the seed', async () => {
    const order = async (seed: number) =>
      (await customWorkload(tokenizer, CUSTOM, { ...SHAREGPT, seed })).requests.map(({ prompt }) => prompt);
    assert.deepEqual(await order(1), await order(1));
    const orders = await Promise.all([1, 2, 3, 4, 5].map(order));
    assert.ok(new Set(orders.map(String)).size > 1);
  });
});

describe('a dataset that cannot be used', () => {
  const load = (flags: readonly string[]) => {
    const { options } = parseArguments(BENCH_SERVING, flags, {});
    return loadWorkload(options, tokenizer, fixture('models/stories260K'));
  };

  test('a file without a usable row is an error with the reasons', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'rows.jsonl');
      await writeFile(path, '{"conversations": []}\nnonsense\n{"conversations": [1]}\n');
      await assert.rejects(load(['--dataset-name', 'custom', '--dataset-path', path]), (error) => {
        assert.ok(error instanceof VitrineError);
        assert.equal(error.code, 'BENCH_FAILED');
        const reasons = 'left out: 2 × fewer than two turns, 1 × not valid JSON';
        assert.equal(error.message, `--dataset-path ${path}: no row can be used; ${reasons}`);
        return true;
      });
      for (const name of ['openai', 'mooncake']) {
        await assert.rejects(load(['--dataset-name', name, '--dataset-path', path]), /no row can be used; left out: /);
      }
    }));

  test('a file is needed, and must be there', async () => {
    for (const name of ['custom', 'openai', 'workload']) {
      const needs = new RegExp(`^--dataset-name ${name} needs a file: give one with --dataset-path$`);
      await assert.rejects(load(['--dataset-name', name]), { message: needs, code: 'INVALID_OPTION' });
      await assert.rejects(load(['--dataset-name', name, '--dataset-path', '/nonexistent']), {
        message: /^--dataset-path \/nonexistent: ENOENT/,
        code: 'INVALID_OPTION',
      });
    }
  });
});

describe('JSON lines', () => {
  async function read(text: string): Promise<unknown[]> {
    const rows: unknown[] = [];
    await withFolder(async (folder) => {
      const path = join(folder, 'rows.jsonl');
      await writeFile(path, text);
      for await (const row of readJsonLines(path, '--dataset-path')) rows.push('value' in row ? row.value : 'bad');
    });
    return rows;
  }

  test('byte-order mark, CRLF, empty lines, no newline at the end', async () => {
    assert.deepEqual(await read('\ufeff{"a": 1}\r\n\r\n  \n[2]\n"three"'), [{ a: 1 }, [2], 'three']);
    assert.deepEqual(await read(''), []);
  });

  test('rows longer than a read are whole, and a broken one costs only itself', async () => {
    const long = { text: `é石${'x'.repeat(1_500_000)}é` };
    assert.deepEqual(await read(`${JSON.stringify(long)}\n{broken\n${JSON.stringify(long)}\n`), [long, 'bad', long]);
  });
});

describe('JSON arrays are read element by element', () => {
  async function read(text: string | Buffer): Promise<unknown[]> {
    const elements: unknown[] = [];
    await withFolder(async (folder) => {
      const path = join(folder, 'rows.json');
      await writeFile(path, text);
      for await (const element of readJsonArray(path, '--dataset-path')) {
        elements.push('value' in element ? element.value : 'bad');
      }
    });
    return elements;
  }

  test('nested values, strings with brackets, quotes and escapes', async () => {
    const value = [{ a: ['],[', '\\"}', '石'] }, 3, 'x,y', null, [[1], {}], 'ends with \\'];
    assert.deepEqual(await read(JSON.stringify(value)), value);
    assert.deepEqual(await read(`\ufeff \n${JSON.stringify(value, null, 2)}\n`), value);
    assert.deepEqual(await read('[]'), []);
  });

  test('rows longer than a read are whole', async () => {
    const value = Array.from({ length: 5 }, (_, i) => ({ id: i, text: `é"\\${'x'.repeat(700_000)}` }));
    assert.deepEqual(await read(JSON.stringify(value)), value);
  });

  test('a broken element costs only itself', async () => {
    assert.deepEqual(await read('[{"a": 1}, {"b": nope}, {"c": 3}]'), [{ a: 1 }, 'bad', { c: 3 }]);
  });

  test('what is no array is refused', async () => {
    await assert.rejects(read('{"a": []}'), /rows\.json: expected a JSON array of rows/);
    await assert.rejects(read(''), /the file is empty/);
    await assert.rejects(read('[1, 2'), /ends inside the JSON array/);
    await assert.rejects(read('[1] x'), /expected a JSON array/);
    await assert.rejects(async () => {
      for await (const _ of readJsonArray('/nonexistent.json', '--dataset-path'));
    }, /--dataset-path \/nonexistent\.json: ENOENT/);
  });
});

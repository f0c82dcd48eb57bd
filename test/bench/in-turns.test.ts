// Datasets are built in turns with everything else, so that an interruption is heard.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inTurns } from '#vitrine/bench/datasets/in-turns.js';
import { loadWorkload } from '#vitrine/bench/datasets/load-workload.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { monotonicSeconds } from '#vitrine/util/clock.js';

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));

/** Items without end, but for a test that fails. */
function* items(): Generator<number> {
  const end = monotonicSeconds() + 20;
  for (let item = 0; monotonicSeconds() < end; item++) yield item;
}

test('gives every item in its order', async () => {
  const seen: number[] = [];
  for await (const item of inTurns([3, 1, 2])) seen.push(item);
  assert.deepEqual(seen, [3, 1, 2]);
});

test('the event loop turns meanwhile: what it does can end the loop', async () => {
  const interrupt = new AbortController();
  setImmediate(() => interrupt.abort());
  await assert.rejects(
    async () => {
      for await (const _ of inTurns(items(), interrupt.signal));
    },
    { code: 'ABORTED' },
  );
});

const DATASETS: Readonly<Record<string, readonly string[]>> = {
  random: [],
  'random-ids': [],
  'generated-shared-prefix': [],
  sharegpt: ['--dataset-path', fixture('datasets/sharegpt_small.json')],
  custom: ['--dataset-path', fixture('datasets/custom_edge.jsonl')],
  openai: ['--dataset-path', fixture('datasets/openai_edge.jsonl')],
  mooncake: ['--dataset-path', fixture('datasets/mooncake_edge.jsonl')],
};

for (const [name, flags] of Object.entries(DATASETS)) {
  test(`${name} is not built to its end after an interruption`, async () => {
    const directory = fixture('models/tiny-qwen3');
    const { options } = parseArguments(BENCH_SERVING, ['--dataset-name', name, ...flags], {});
    const tokenizer = await Tokenizer.load(directory);
    await assert.rejects(loadWorkload(options, tokenizer, directory, AbortSignal.abort()), { code: 'ABORTED' });
  });
}

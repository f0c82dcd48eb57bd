// LoRA adapters of requests: the three distributions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assignLora, type LoraSettings } from '#vitrine/bench/datasets/lora-names.js';
import { checkOptions } from '#vitrine/bench/serving/check-options.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';

const REQUESTS = Array.from({ length: 7000 }, () => ({ prompt: 'x', promptLen: 1, outputLen: 1 }));
const SETTINGS: LoraSettings = { names: ['a', 'b', 'c'], distribution: 'uniform', zipfAlpha: 2, seed: 1 };

/** Share of the requests that each name has. */
function shares(settings: LoraSettings): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { lora } of assignLora(REQUESTS, settings)) counts[lora!] = (counts[lora!] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, count / REQUESTS.length]));
}

const near = (actual: number | undefined, wanted: number): void =>
  assert.ok(Math.abs(actual! - wanted) < 0.02, `${actual} is not near ${wanted}`);

test('uniform: each as often, at random', () => {
  const { a, b, c } = shares(SETTINGS);
  for (const share of [a, b, c]) near(share, 1 / 3);
});

test('skewed: name i with a probability proportional to alpha^(-i)', () => {
  const { a, b, c } = shares({ ...SETTINGS, distribution: 'skewed' });
  near(a, 4 / 7);
  near(b, 2 / 7);
  near(c, 1 / 7);
});

test('distinct: one after the other', () => {
  const named = assignLora(REQUESTS.slice(0, 5), { ...SETTINGS, distribution: 'distinct' });
  assert.deepEqual(
    named.map(({ lora }) => lora),
    ['a', 'b', 'c', 'a', 'b'],
  );
});

test('the seed decides; without names nothing is assigned', () => {
  const names = (seed: number) => assignLora(REQUESTS, { ...SETTINGS, seed }).map(({ lora }) => lora);
  assert.deepEqual(names(1), names(1));
  assert.notDeepEqual(names(1), names(2));
  assert.equal(assignLora(REQUESTS, { ...SETTINGS, names: [] }), REQUESTS);
});

test('flags that make no sense are refused', () => {
  const check = (flags: readonly string[]) => checkOptions(parseArguments(BENCH_SERVING, flags, {}).options);
  check(['--lora-name', 'a', 'b', '--lora-request-distribution', 'skewed']);
  assert.throws(() => check(['--lora-name', 'a', '--lora-request-distribution', 'distinct']), {
    code: 'INVALID_OPTION',
    message: '--lora-request-distribution distinct needs two names or more of --lora-name, got 1',
  });
  assert.throws(() => check(['--lora-zipf-alpha', '1']), /--lora-zipf-alpha: expected a number greater than 1, got 1/);
});

// Dataset generated-shared-prefix: what is shared, how long it is, and in which order it comes.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type SharedPrefixSettings, sharedPrefixWorkload } from '#vitrine/bench/datasets/shared-prefix.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { runServing } from '../support/serving-run.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

let tokenizer: Tokenizer;
before(async () => {
  tokenizer = await Tokenizer.load(fileURLToPath(new URL('../fixtures/models/tiny-qwen3', import.meta.url)));
});

const SETTINGS: SharedPrefixSettings = {
  seed: 1,
  numGroups: 3,
  promptsPerGroup: 4,
  systemPromptLen: 40,
  questionLen: 10,
  outputLen: 6,
  rangeRatio: 1,
  fastPrepare: false,
  sendRoutingKey: false,
  ordered: true,
  numTurns: 1,
};

const tokensOf = async (text: string) => (await tokenizer.encode(text, false)).length;

test('prompts of a group share the system prompt, of exactly the tokens asked for', async () => {
  const { requests, notes } = await sharedPrefixWorkload(tokenizer, SETTINGS);
  assert.equal(requests.length, 12);
  const systems = new Set<string>();
  const questions = new Set<string>();
  for (const [i, { prompt, promptLen, outputLen }] of requests.entries()) {
    const [system, question] = (prompt as string).split('\n\n');
    assert.equal(await tokensOf(system!), 40);
    assert.equal(await tokensOf(question!), 10);
    assert.equal(promptLen, (await tokenizer.encode(prompt as string, true)).length);
    assert.equal(outputLen, 6);
    systems.add(system!);
    questions.add(question!);
    assert.equal(systems.size, Math.floor(i / 4) + 1, 'ordered: one group after the other');
  }
  assert.equal(questions.size, 12);
  assert.deepEqual(notes, [
    'Generated shared prefix dataset statistics:',
    'Number of groups: 3',
    'Prompts per group: 4',
    'Total prompts: 12',
    'Average system prompt length: 40.0 tokens',
    'Average question length: 10.0 tokens',
    'Shared share of the prompts: 80.0 %',
  ]);
});

test('shuffled by the seed unless ordered', async () => {
  const prompts = async (change: Partial<SharedPrefixSettings>) =>
    (await sharedPrefixWorkload(tokenizer, { ...SETTINGS, ...change })).requests.map(({ prompt }) => prompt as string);
  const ordered = await prompts({});
  const shuffled = await prompts({ ordered: false });
  assert.notDeepEqual(shuffled, ordered);
  assert.deepEqual(shuffled.toSorted(), ordered.toSorted());
  assert.deepEqual(await prompts({ ordered: false }), shuffled);
  assert.notDeepEqual((await prompts({ seed: 2 })).toSorted(), ordered.toSorted());
});

test('lengths vary down to the ratio’s share', async () => {
  const settings = { ...SETTINGS, numGroups: 40, rangeRatio: 0.5 };
  const { requests } = await sharedPrefixWorkload(tokenizer, settings);
  const outputs = requests.map(({ outputLen }) => outputLen);
  assert.deepEqual([Math.min(...outputs), Math.max(...outputs)], [3, 6]);
  const systems = await Promise.all(requests.map(({ prompt }) => tokensOf((prompt as string).split('\n\n')[0]!)));
  assert.ok(Math.min(...systems) >= 20 && Math.min(...systems) < 25, String(Math.min(...systems)));
  assert.ok(Math.max(...systems) <= 40 && Math.max(...systems) > 35, String(Math.max(...systems)));
});

test('fast-prepare: nominal lengths', async () => {
  const { requests } = await sharedPrefixWorkload(tokenizer, { ...SETTINGS, fastPrepare: true });
  assert.ok(requests.every(({ promptLen }) => promptLen === 50));
});

test('one routing key for each group, another seed has others', async () => {
  const keys = async (seed: number) => {
    const { requests } = await sharedPrefixWorkload(tokenizer, { ...SETTINGS, seed, sendRoutingKey: true });
    return requests.map(({ routingKey }) => routingKey!);
  };
  const first = await keys(1);
  assert.equal(new Set(first).size, 3);
  assert.equal(new Set(first.slice(0, 4)).size, 1);
  assert.match(first[0]!, /^[0-9a-f]{8}_0$/);
  assert.deepEqual(await keys(1), first);
  assert.notDeepEqual(await keys(2), first);
  const { requests } = await sharedPrefixWorkload(tokenizer, SETTINGS);
  assert.ok(requests.every((request) => !('routingKey' in request)));
});

test('turns: further questions of their own', async () => {
  const { requests } = await sharedPrefixWorkload(tokenizer, { ...SETTINGS, numTurns: 3 });
  for (const { followUps } of requests) {
    assert.equal(followUps!.length, 2);
    for (const { text, tokens, outputLen } of followUps!) {
      assert.equal(await tokensOf(text), 10);
      assert.deepEqual([tokens, outputLen], [10, 6]);
    }
  }
  assert.equal(new Set(requests.flatMap(({ followUps }) => followUps!.map(({ text }) => text))).size, 24);
});

test('is sent whole whatever --num-prompts says; its statistics are printed', async (context) => {
  const folder = await temporaryDirectory(context);
  const sizes = ['--gsp-num-groups', '2', '--gsp-prompts-per-group', '3', '--gsp-system-prompt-len', '20'];
  const flags = ['--dataset-name', 'generated-shared-prefix', ...sizes, '--gsp-question-len', '5'];
  const { row, printed, warned, server } = await runServing(flags, { folder });
  assert.equal(row.completed, 6);
  assert.equal(server.received.length, 6);
  assert.match(printed, /Number of groups: 2\nPrompts per group: 3\nTotal prompts: 6\n/);
  assert.equal(warned, '');
  await assert.rejects(runServing([...flags, '--gsp-num-turns', '2'], { folder }), {
    code: 'INVALID_OPTION',
    message: /^--gsp-num-turns needs a chat backend .*, not with sglang$/,
  });
});

// Dataset mooncake: times, shared blocks and rounds of a trace.
import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type MooncakeSettings, mooncakeWorkload } from '#vitrine/bench/datasets/mooncake.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { runServing } from '../support/serving-run.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const EDGE = fixture('datasets/mooncake_edge.jsonl');

let tokenizer: Tokenizer;
before(async () => {
  tokenizer = await Tokenizer.load(fixture('models/stories260K'));
});

const SETTINGS: MooncakeSettings = {
  path: EDGE,
  workload: 'conversation',
  numPrompts: 100,
  slowdownFactor: 1,
  numRounds: 1,
};

test('requests come in the order of their times, from the first on; odd rows are counted', async () => {
  const { requests, skipped } = await mooncakeWorkload(tokenizer, SETTINGS);
  assert.deepEqual(
    requests.map(({ timestamp, outputLen }) => [timestamp, outputLen]),
    [
      [0, 9],
      [0.482, 52],
      [3.535, 26],
      [3.535, 4],
    ],
  );
  assert.deepEqual(skipped, {
    'no timestamp': 2,
    'no list of hash_ids': 2,
    'output_length is not a positive integer': 2,
    'not valid JSON': 1,
    'row is not an object': 1,
  });
  const slow = await mooncakeWorkload(tokenizer, { ...SETTINGS, slowdownFactor: 2 });
  assert.equal(slow.requests[2]!.timestamp, 7.07);
  const two = await mooncakeWorkload(tokenizer, { ...SETTINGS, numPrompts: 2 });
  assert.deepEqual(
    two.requests.map(({ timestamp }) => timestamp),
    [0, 3.053],
    'the first rows of the file',
  );
});

test('equal hashes are equal blocks at the start of the prompt', async () => {
  const { requests } = await mooncakeWorkload(tokenizer, SETTINGS);
  const block = (hash: number) => `${hash}${' hi'.repeat(128)}`;
  const [short, long, other, none] = requests.map(({ prompt }) => prompt as string);
  assert.ok(long!.startsWith(block(46) + block(47) + block(48)));
  assert.ok(other!.startsWith(block(46) + block(47) + block(60)));
  assert.ok(short!.startsWith(block(46)) && !short!.includes(block(47)));
  assert.ok(!none!.includes('hi hi'));
  for (const { prompt, promptLen } of requests) {
    assert.equal(promptLen, (await tokenizer.encode(prompt as string, true)).length);
  }
});

test('rounds are turns of a conversation, each with the blocks', async () => {
  const { requests } = await mooncakeWorkload(tokenizer, { ...SETTINGS, numRounds: 3 });
  const { prompt, followUps, outputLen } = requests[1]!;
  assert.equal(followUps!.length, 2);
  const texts = [prompt as string, ...followUps!.map(({ text }) => text)];
  assert.equal(new Set(texts).size, 3);
  assert.ok(texts.every((text) => text.startsWith('46 hi hi')));
  assert.ok(followUps!.every((turn) => turn.outputLen === outputLen));
});

test('the file, or the trace of a folder, or word of how to get it', async (context) => {
  const folder = await temporaryDirectory(context);
  await mkdir(join(folder, 'traces'));
  await copyFile(EDGE, join(folder, 'traces', 'toolagent_trace.jsonl'));
  const { requests } = await mooncakeWorkload(tokenizer, { ...SETTINGS, path: folder, workload: 'toolagent' });
  assert.equal(requests.length, 4);
  const lacks = (settings: Partial<MooncakeSettings>, message: RegExp) =>
    assert.rejects(mooncakeWorkload(tokenizer, { ...SETTINGS, ...settings }), { code: 'INVALID_OPTION', message });
  await lacks({ path: folder }, /traces\/conversation_trace\.jsonl is not there: fetch it with `curl/);
  await lacks(
    { path: '', workload: 'mooncake' },
    /no --dataset-path.*FAST25-release\/arxiv-trace\/mooncake_trace\.jsonl/,
  );
  await lacks({ path: join(folder, 'no.jsonl') }, /^--dataset-path .*no\.jsonl: ENOENT/);
});

test('a run follows the times of the trace and says so', async (context) => {
  const folder = await temporaryDirectory(context);
  const flags = ['--dataset-name', 'mooncake', '--dataset-path', EDGE, '--mooncake-slowdown-factor', '0.02'];
  const run = await runServing([...flags, '--output-details'], { folder });
  assert.equal(run.row.completed, 4);
  assert.equal(run.row.request_rate, 'trace');
  assert.match(run.printed, /Traffic request rate: +trace /);
  assert.match(run.warned, /Left out 2 dataset rows: no timestamp/);
  // The last two are due 0.0707 s after the start.
  assert.ok((run.row.duration as number) > 0.07);
  const drawn = await runServing([...flags, '--request-rate', '1000'], { folder });
  assert.equal(drawn.row.request_rate, 1000);
  const insisted = await runServing([...flags, '--request-rate', '1000', '--use-trace-timestamps'], { folder });
  assert.equal(insisted.row.request_rate, 'trace');
  await assert.rejects(runServing([...flags, '--mooncake-num-rounds', '2'], { folder }), {
    message: /^--mooncake-num-rounds needs a chat backend/,
  });
  await assert.rejects(runServing(['--dataset-name', 'random', '--use-trace-timestamps'], { folder }), {
    code: 'INVALID_OPTION',
    message: /^--use-trace-timestamps needs the timestamps of --dataset-name mooncake or workload, not with random$/,
  });
});

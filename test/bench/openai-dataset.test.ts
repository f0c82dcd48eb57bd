// Dataset openai: what becomes of a row's keys, how its tokens are counted, and rows that cannot be used.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openAiWorkload } from '#vitrine/bench/datasets/openai.js';
import { ChatTemplate } from '#vitrine/tokenizer/chat-template.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { runServing } from '../support/serving-run.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const EDGE = fixture('datasets/openai_edge.jsonl');
const MODEL = fixture('models/tiny-qwen3');

let tokenizer: Tokenizer;
let chatTemplate: ChatTemplate;
before(async () => {
  tokenizer = await Tokenizer.load(MODEL);
  chatTemplate = (await ChatTemplate.load(MODEL))!;
});

const load = (settings: { numPrompts?: number; outputLen?: number } = {}) =>
  openAiWorkload(tokenizer, { path: EDGE, numPrompts: 100, outputLen: undefined, chatTemplate, ...settings });

test('rows keep their order, lengths and other keys; odd rows are counted', async () => {
  const { requests, skipped, notes } = await load();
  assert.deepEqual(
    requests.map(({ outputLen, body }) => ({ outputLen, body })),
    [
      { outputLen: 32, body: undefined },
      { outputLen: 12, body: { temperature: 0.7, seed: 11 } },
      { outputLen: 256, body: { tools: requests[2]!.body!.tools, tool_choice: 'auto' } },
      { outputLen: 256, body: undefined },
    ],
  );
  assert.deepEqual(requests[0]!.prompt, [{ role: 'user', content: 'Name three birds.' }]);
  assert.deepEqual(skipped, {
    'no list of messages': 3,
    'max_tokens is not a positive integer': 2,
    'not valid JSON': 1,
    'a message without a role': 1,
    'content that is not text': 1,
    'row is not an object': 1,
  });
  assert.equal(notes, undefined);
});

test('prompt tokens are those of the rendered messages and of the JSON of the tools', async () => {
  const { requests } = await load();
  const count = async (text: string) => (await tokenizer.encode(text, false)).length;
  const opening = '<|im_start|>user\nWill it rain?<|im_end|>\n<|im_start|>assistant\n';
  const tools = JSON.stringify(requests[2]!.body!.tools);
  assert.equal(requests[2]!.promptLen, (await count(opening)) + (await count(tools)));
});

test('without a chat template the texts are counted, and a note says so', async () => {
  const settings = { path: EDGE, numPrompts: 2, outputLen: undefined, chatTemplate: undefined };
  const { requests, notes } = await openAiWorkload(tokenizer, settings);
  assert.equal(requests[1]!.promptLen, (await tokenizer.encode('Be brief.\nName a fish.', false)).length);
  assert.match(notes!.join(), /no chat template/);
});

test('--sharegpt-output-len wins, --num-prompts ends the reading', async () => {
  const { requests, skipped } = await load({ numPrompts: 3, outputLen: 9 });
  assert.deepEqual(
    requests.map(({ outputLen }) => outputLen),
    [9, 9, 9],
  );
  assert.deepEqual(skipped, {}, 'what comes later has not been read');
});

test('messages are sent as they are; backends without messages are refused', async (context) => {
  const folder = await temporaryDirectory(context);
  const flags = ['--dataset-name', 'openai', '--dataset-path', EDGE, '--max-concurrency', '1'];
  const { server, row } = await runServing([...flags, '--backend', 'vllm-chat'], { folder });
  assert.equal(row.completed, 4);
  assert.deepEqual(server.received[3]!.body.messages, [
    { role: 'user', content: 'The last one.' },
    { role: 'assistant', content: 'Yes?' },
    { role: 'user', content: 'Good bye.' },
  ]);
  await assert.rejects(runServing(flags, { folder }), {
    code: 'INVALID_OPTION',
    message: /^--dataset-name openai needs a chat backend \(one that ends in -chat\), not with sglang$/,
  });
});

// Conversations: what each turn is sent with, and what becomes of the rest when a turn fails or the user stops.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { BenchRequest } from '#vitrine/bench/datasets/bench-request.js';
import { type ConversationDeps, converse, NOT_SENT } from '#vitrine/bench/serving/load/conversation.js';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import { type Behaviour, GOOD_TEXT } from '../support/fake-llm-server.js';
import { runServing } from '../support/serving-run.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const REQUEST: BenchRequest = {
  prompt: 'first',
  promptLen: 10,
  outputLen: 5,
  followUps: [
    { text: 'second', tokens: 3, outputLen: 6 },
    { text: 'third', tokens: 4, outputLen: 7 },
  ],
  body: { temperature: 1 },
  routingKey: 'k',
  lora: 'l',
};

interface Sent {
  readonly request: BenchRequest;
  readonly turn: number;
  readonly arrivedAt: number;
}

/** Answers turn i with `answers[i]` laid over a good record. */
async function play(
  answers: readonly Partial<RequestRecord>[],
  given: Partial<ConversationDeps> = {},
): Promise<{ sent: Sent[]; records: RequestRecord[] }> {
  const sent: Sent[] = [];
  const records: RequestRecord[] = [];
  await converse(REQUEST, 100, {
    send: async (request, turn, arrivedAt) => {
      sent.push({ request, turn, arrivedAt });
      const { promptLen, outputLen } = request;
      const times = { arrivedAt, sentAt: arrivedAt + 1, endedAt: arrivedAt + 10, ttft: 1, firstToken: 1, gaps: [1] };
      const answer = { text: `answer ${turn}`, error: '', interrupted: false, gapTexts: [], completionTokens: 2 };
      const lens = { promptLen, requestedLen: outputLen, promptTokens: undefined, cachedTokens: undefined };
      return { index: 8, turn, ...times, ...answer, ...lens, ...answers[turn] };
    },
    onRecord: (record) => records.push(record),
    countTokens: async (text) => text.length,
    signal: new AbortController().signal,
    ...given,
  });
  return { sent, records };
}

describe('a conversation', () => {
  test('each turn brings all that was said, and is due when the answer before it has ended', async () => {
    const { sent, records } = await play([]);
    const [user, assistant] = ['user', 'assistant'];
    const opening = { body: { temperature: 1 }, routingKey: 'k', lora: 'l' };
    const said = [
      { role: user, content: 'first' },
      { role: assistant, content: 'answer 0' },
      { role: user, content: 'second' },
      { role: assistant, content: 'answer 1' },
      { role: user, content: 'third' },
    ];
    assert.deepEqual(sent, [
      { request: { ...opening, prompt: 'first', promptLen: 10, outputLen: 5 }, turn: 0, arrivedAt: 100 },
      { request: { ...opening, prompt: said.slice(0, 3), promptLen: 15, outputLen: 6 }, turn: 1, arrivedAt: 110 },
      { request: { ...opening, prompt: said, promptLen: 21, outputLen: 7 }, turn: 2, arrivedAt: 120 },
    ]);
    assert.deepEqual(
      records.map(({ turn, promptLen }) => [turn, promptLen]),
      [
        [0, 10],
        [1, 15],
        [2, 21],
      ],
    );
  });

  test('lengths: the server’s where it counts, else the client’s', async () => {
    const uncounted = await play([{ completionTokens: undefined, text: 'four' }]);
    assert.equal(uncounted.records[1]!.promptLen, 10 + 4 + 3);
    const counted = await play([{ promptTokens: 17 }, { promptTokens: 28 }, { promptTokens: 40 }]);
    assert.deepEqual(
      counted.records.map(({ promptLen }) => promptLen),
      [10, 28, 40],
      'the first prompt is the workload’s',
    );
  });

  test('a failed turn ends it: the turns that are left fail by name and are not sent', async () => {
    const { sent, records } = await play([{ error: 'HTTP 500' }]);
    assert.equal(sent.length, 1);
    assert.deepEqual(
      records.map(({ index, turn, error, requestedLen, sentAt, endedAt }) => [
        index,
        turn,
        error,
        requestedLen,
        endedAt - sentAt,
      ]),
      [
        [8, 0, 'HTTP 500', 5, 9],
        [8, 1, NOT_SENT, 6, 0],
        [8, 2, NOT_SENT, 7, 0],
      ],
    );
    assert.equal(records[2]!.ttft, undefined);
  });

  test('an interrupted turn ends it without a word, and so does an interrupt between turns', async () => {
    const cut = await play([{}, { error: 'cut', interrupted: true }]);
    assert.deepEqual([cut.sent.length, cut.records.length], [2, 2]);
    const interrupt = new AbortController();
    const stopped = await play([], {
      signal: interrupt.signal,
      countTokens: async () => 0,
      onRecord: () => interrupt.abort(),
    });
    assert.equal(stopped.sent.length, 1);
  });
});

describe('in a run', () => {
  const FLAGS = ['--dataset-name', 'generated-shared-prefix', '--gsp-num-groups', '2', '--gsp-prompts-per-group', '2'];
  const SIZES = ['--gsp-system-prompt-len', '12', '--gsp-question-len', '4', '--gsp-output-len', '6'];
  const CHAT = [...FLAGS, ...SIZES, '--gsp-num-turns', '3', '--backend', 'sglang-oai-chat'];

  test('every turn is a record, and --max-concurrency counts conversations', async (context) => {
    const folder = await temporaryDirectory(context);
    const { row, server, failed } = await runServing([...CHAT, '--max-concurrency', '2'], { folder });
    assert.equal(failed, 0);
    assert.equal(row.completed, 12);
    assert.equal(server.received.length, 12);
    assert.equal(server.mostAtOnce, 2);
    interface Message {
      readonly role: string;
      readonly content: string;
    }
    const conversations = server.received.map(({ body }) => body.messages as Message[]);
    assert.deepEqual(
      conversations.map((messages) => messages.length).toSorted((a, b) => a - b),
      [1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 5, 5],
    );
    for (const messages of conversations.filter(({ length }) => length === 5)) {
      assert.ok(messages.every(({ role }, i) => role === (i % 2 === 0 ? 'user' : 'assistant')));
      assert.equal(messages[3]!.content, GOOD_TEXT);
      const earlier = conversations.filter(({ length }) => length === 3).map((part) => JSON.stringify(part));
      assert.ok(earlier.includes(JSON.stringify(messages.slice(0, 3))));
    }
  });

  test('a failed turn costs the turns after it', async (context) => {
    const folder = await temporaryDirectory(context);
    const behave = (index: number): Behaviour => (index === 1 ? 'too-many' : 'good');
    const { row, warned, server } = await runServing([...CHAT, '--max-concurrency', '1'], { folder, behave });
    assert.equal(server.received.length, 11);
    assert.equal(row.completed, 10);
    assert.equal(row.failed, 2);
    assert.equal((row.errors_by_message as Record<string, number>)[NOT_SENT], 1);
    assert.match(warned, /2 of 12 requests failed:/);
  });

  test('Ctrl-C in the middle: turns that were answered count, the others are neither failures nor successes', async (context) => {
    const folder = await temporaryDirectory(context);
    const interrupt = new AbortController();
    const { row, warned } = await runServing([...CHAT, '--max-concurrency', '1'], {
      folder,
      behave: (index) => {
        if (index < 4) return 'good';
        setTimeout(() => interrupt.abort(), 20);
        return 'slow';
      },
      interrupt: interrupt.signal,
    });
    assert.deepEqual([row.completed, row.failed, row.interrupted], [4, 0, 1]);
    assert.match(warned, /Interrupted: the figures are those of 4 of 12 requests/);
  });

  test('conversations of a saved workload need a chat backend', async (context) => {
    const folder = await temporaryDirectory(context);
    const path = join(folder, 'w.jsonl');
    const turn = { text: 'more', tokens: 1, output_len: 2 };
    const row = { at: 0, prompt: 'hello', prompt_len: 2, output_len: 2, follow_ups: [turn] };
    const header = { format: 'vitrine-workload', version: 1 };
    await writeFile(path, `${JSON.stringify(header)}\n${JSON.stringify(row)}\n`);
    const flags = ['--dataset-name', 'workload', '--dataset-path', path];
    await assert.rejects(runServing(flags, { folder }), {
      code: 'INVALID_OPTION',
      message: /^--dataset-name workload gives messages, and --backend sglang \(\/generate\) takes text or token ids$/,
    });
    const { row: result } = await runServing([...flags, '--backend', 'vllm-chat'], { folder });
    assert.equal(result.completed, 2);
  });
});

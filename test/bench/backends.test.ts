// What a request of a workload becomes in each dialect, and what cannot be sent at all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BenchRequest } from '#vitrine/bench/datasets/bench-request.js';
import { HttpClient } from '#vitrine/bench/http/http-client.js';
import { checkPrompts } from '#vitrine/bench/serving/backends/check-backend.js';
import { payloadSettings } from '#vitrine/bench/serving/backends/payload-settings.js';
import { type BackendName, defaultPort, selectBackend } from '#vitrine/bench/serving/backends/select-backend.js';
import { RequestSender } from '#vitrine/bench/serving/load/send-request.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { ScriptedServer, whole } from '../support/scripted-server.js';

const TEXT: BenchRequest = { prompt: 'Hi', promptLen: 1, outputLen: 4 };
const optionsOf = (...flags: string[]) => parseArguments(BENCH_SERVING, flags, {}).options;
const payloadOf = (backend: BackendName, request: BenchRequest, ...flags: string[]) =>
  selectBackend(backend).payload(request, payloadSettings(optionsOf(...flags), 'served'));

test('default ports are SGLang’s', () => {
  const ports = { sglang: 30000, vllm: 8000, 'vllm-chat': 30000, lmdeploy: 23333, 'lmdeploy-chat': 30000, trt: 8000 };
  for (const [name, port] of Object.entries(ports)) assert.equal(defaultPort(name as BackendName), port, name);
  assert.equal(defaultPort('truss'), 8080);
});

test('messages go to chat backends as they are', () => {
  const prompt = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
  ];
  for (const backend of ['sglang-oai-chat', 'vllm-chat', 'lmdeploy-chat'] as const) {
    assert.deepEqual(payloadOf(backend, { ...TEXT, prompt }).messages, prompt);
    assert.deepEqual(payloadOf(backend, TEXT).messages, [{ role: 'user', content: 'Hi' }]);
  }
});

test('a request’s own fields lie over the dialect’s, and the user’s over both', () => {
  const request = { ...TEXT, body: { temperature: 0.3, tools: [{ type: 'function' }], seed: 1 } };
  const payload = payloadOf('vllm-chat', request, '--extra-request-body', '{"seed": 2, "stream": false}');
  assert.deepEqual(
    [payload.temperature, payload.tools, payload.seed, payload.stream, payload.max_completion_tokens],
    [0.3, [{ type: 'function' }], 2, false, 4],
  );
});

test('an error that is null is none', () => {
  const answers: readonly [BackendName, object][] = [
    ['sglang', { text: 'a', meta_info: { completion_tokens: 1, finish_reason: null } }],
    ['sglang-oai', { choices: [{ text: 'a', finish_reason: null }] }],
    ['trt', { text_output: 'a' }],
  ];
  for (const [backend, answer] of answers) {
    const part = selectBackend(backend).reader()(Buffer.from(JSON.stringify({ ...answer, error: null })));
    assert.deepEqual([part.error, part.countsAsToken], [undefined, true], backend);
  }
});

test('a LoRA adapter: lora_path, and the model’s name where there is one', () => {
  const request = { ...TEXT, lora: 'adapter' };
  assert.equal(payloadOf('sglang', request).lora_path, 'adapter');
  for (const backend of ['sglang-oai', 'vllm-chat'] as const) {
    const { model, lora_path: path } = payloadOf(backend, request);
    assert.deepEqual([model, path], ['adapter', 'adapter']);
  }
  assert.equal('lora_path' in payloadOf('sglang', TEXT), false);
  assert.equal(payloadOf('vllm', TEXT).model, 'served');
});

test('a routing key is a header of its request alone', async () => {
  const server = await ScriptedServer.start(() => whole('{"error":"no"}', { type: 'application/json' }));
  const client = new HttpClient({ baseUrl: server.url, headers: { 'x-own': 'yes' } });
  const settings = { payload: payloadSettings(optionsOf(), 'm'), timeoutSeconds: 10 };
  const sender = new RequestSender(client, selectBackend('sglang'), settings, new AbortController().signal);
  try {
    const record = await sender.send({ ...TEXT, routingKey: 'group-7' }, 3, 0.5, 2);
    assert.deepEqual([record.index, record.turn, record.arrivedAt], [3, 2, 0.5]);
    await sender.send(TEXT, 4, 0.5);
    assert.match(server.heads[0]!, /^x-smg-routing-key: group-7\r$/m);
    assert.match(server.heads[0]!, /^x-own: yes\r$/m);
    assert.doesNotMatch(server.heads[1]!, /x-smg-routing-key/);
  } finally {
    client.close();
    await server.close();
  }
});

test('prompts that a backend cannot send are refused with the dataset’s name', () => {
  const check = (backend: string, request: BenchRequest) =>
    checkPrompts({ requests: [TEXT, request], skipped: {} }, optionsOf('--backend', backend));
  const ids = { ...TEXT, prompt: [1, 2] };
  const messages = { ...TEXT, prompt: [{ role: 'user', content: 'Hi' }] };
  const turns = { ...TEXT, followUps: [{ text: 'And?', tokens: 2, outputLen: 4 }] };
  for (const backend of ['sglang', 'sglang-oai', 'vllm']) {
    check(backend, ids);
    for (const request of [messages, turns]) {
      assert.throws(
        () => check(backend, request),
        (error) => {
          assert.ok(error instanceof VitrineError);
          assert.equal(error.code, 'INVALID_OPTION');
          assert.match(
            error.message,
            /^--dataset-name sharegpt gives messages, and --backend .* takes text or token ids$/,
          );
          return true;
        },
      );
    }
  }
  for (const backend of ['sglang-oai-chat', 'lmdeploy-chat']) {
    check(backend, messages);
    check(backend, turns);
    assert.throws(() => check(backend, ids), /gives token ids, and --backend .* takes text or messages/);
  }
  for (const backend of ['lmdeploy', 'trt', 'truss']) assert.throws(() => check(backend, ids), /takes text$/);
});

// From the first 503 to the last.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveOptions } from '#vitrine/config/resolve-options.js';
import { SERVER_OPTIONS } from '#vitrine/config/tables/server-options.js';
import { FrontEndTracer } from '#vitrine/frontend/profiler/front-end-tracer.js';
import { Server } from '#vitrine/server/server.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { silentLog } from '#vitrine/util/log.js';
import { startFakeServer } from '../support/fake-server.js';
import { get, parseEvents, post, until } from '../support/http.js';

test('while the model loads every known route says 503', async (t) => {
  const { url } = await startFakeServer(t, { notReady: true });
  for (const path of ['/health', '/health_generate', '/ping', '/v1/models', '/server_info', '/flush_cache']) {
    const { status, body } = await get(`${url}${path}`);
    assert.equal(status, 503, path);
    assert.match(body.message, /loading/);
  }
  assert.equal((await post(`${url}/generate`, { text: 'x' })).status, 503);
  assert.equal((await get(`${url}/unknown`)).status, 404);
});

test('a port in use is named', async (t) => {
  const { url } = await startFakeServer(t);
  const port = Number(new URL(url).port);
  const options = resolveOptions(SERVER_OPTIONS, { modelPath: 'x', port }, {});
  const health = { timeoutSeconds: 1, probe: true };
  const second = new Server({
    options,
    health,
    metrics: null,
    tracer: new FrontEndTracer({ processName: 'second', log: silentLog }),
    log: silentLog,
  });
  await assert.rejects(second.listen(), (error: unknown) => {
    assert.ok(error instanceof VitrineError);
    assert.equal(error.code, 'ADDRESS_IN_USE');
    assert.ok(error.message.includes(String(port)), error.message);
    return true;
  });
});

test('draining lets running requests finish and refuses new ones', async (t) => {
  const { url, server, scheduler } = await startFakeServer(t, { manual: true });
  const streamed = post(`${url}/generate`, { input_ids: [5], sampling_params: { max_new_tokens: 3 }, stream: true });
  const collected = post(`${url}/generate`, { input_ids: [6], sampling_params: { max_new_tokens: 3 } });
  await until(() => scheduler.running.size === 2);
  const drained = server.drain(30);
  const refused = await post(`${url}/generate`, { text: 'x' });
  assert.equal(refused.status, 503);
  assert.match(refused.body.message, /shutting down/);
  assert.equal((await get(`${url}/health`)).status, 503);
  for (let i = 0; i < 3; i++) {
    scheduler.step();
    await sleep(1);
  }
  assert.deepEqual(parseEvents((await streamed).text).at(-1).output_ids, [5, 5, 5]);
  assert.deepEqual((await collected).body.output_ids, [6, 6, 6]);
  await drained;
  await assert.rejects(get(`${url}/health`));
});

test('what has not finished in time is aborted with a final message', async (t) => {
  const { url, server, scheduler } = await startFakeServer(t, { manual: true });
  const streamed = post(`${url}/generate`, { input_ids: [5], stream: true });
  const chat = post(`${url}/v1/chat/completions`, { messages: [{ role: 'user', content: 'x' }], stream: true });
  const collected = post(`${url}/generate`, { input_ids: [6] });
  await until(() => scheduler.running.size === 3);
  scheduler.step();
  await sleep(5);
  await server.drain(0.05);
  assert.match(parseEvents((await streamed).text).at(-1).error.message, /shutting down/);
  assert.match(parseEvents((await chat).text).at(-1).error.message, /shutting down/);
  const { status, body } = await collected;
  assert.equal(status, 503);
  assert.match(body.message, /shutting down/);
});

test('an idle server closes although connections are kept open', async (t) => {
  const { url, server } = await startFakeServer(t);
  await get(`${url}/v1/models`); // fetch keeps its connection
  await server.drain(3600); // does not wait for them
});

test('after the engine failed the server closes, having told everybody', async (t) => {
  const { url, server, client, scheduler } = await startFakeServer(t, { manual: true });
  void client.gone.then((failure) => server.fail(failure));
  const reply = post(`${url}/generate`, { input_ids: [6] });
  await until(() => scheduler.running.size === 1);
  scheduler.vanish();
  const { status, body } = await reply;
  assert.equal(status, 500);
  assert.match(body.message, /gone/);
  await until(() => !server.app.server.listening);
});

// Clients that go away, read slowly, or come in crowds.
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFakeServer } from '../support/fake-server.js';
import { parseEvents, post, until } from '../support/http.js';

/** Sends a request over a bare socket and leaves reading to the caller. */
function rawPost(t: TestContext, url: string, path: string, body: object, version = '1.1'): Socket {
  const { port, hostname } = new URL(url);
  const json = JSON.stringify(body);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  socket.write(
    `POST ${path} HTTP/${version}\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
  return socket;
}

test('a client that goes away aborts its requests: streamed, collected, batched', async (t) => {
  const { url, scheduler, manager } = await startFakeServer(t, { manual: true });
  const bodies = [
    ['/generate', { input_ids: [5], stream: true }],
    ['/generate', { input_ids: [5] }],
    ['/generate', { input_ids: [[5], [6], [7]], stream: true }],
    ['/v1/completions', { prompt: [5], n: 2 }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }], stream: true }],
  ] as const;
  for (const [path, body] of bodies) {
    const socket = rawPost(t, url, path, body);
    await until(() => scheduler.running.size > 0, `${path} to start`);
    scheduler.step();
    await sleep(5);
    socket.destroy();
    await until(() => scheduler.running.size === 0, `${path} to be aborted`);
    assert.equal(manager.runningRequests, 0);
  }
});

test('one that goes away before the first token, too', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true });
  const socket = rawPost(t, url, '/generate', { input_ids: [5], stream: true });
  await until(() => scheduler.running.size === 1);
  socket.destroy();
  await until(() => scheduler.running.size === 0);
});

test('a finished request is not aborted when its connection closes', async (t) => {
  const { url, scheduler } = await startFakeServer(t);
  const { status } = await post(
    `${url}/generate`,
    { input_ids: [5], sampling_params: { max_new_tokens: 2 } },
    {
      headers: { connection: 'close' },
    },
  );
  assert.equal(status, 200);
  await sleep(20);
  assert.deepEqual(scheduler.aborts, []);
});

test('a client that does not read slows nobody, gets fewer events, and misses nothing', async (t) => {
  const tokens = 6000;
  const { url, scheduler } = await startFakeServer(t, {
    info: { contextLength: 10_000, maxTotalTokens: 20_000 },
  });
  // The cumulative stream of this request is far larger than any socket buffer.
  const slow = rawPost(t, url, '/generate', {
    input_ids: [400, 401],
    sampling_params: { max_new_tokens: tokens },
    stream: true,
  });
  slow.pause();
  await until(() => scheduler.running.size === 1);
  const fast = await post(`${url}/generate`, { input_ids: [5], sampling_params: { max_new_tokens: 50 }, stream: true });
  assert.equal(parseEvents(fast.text).length, 50);
  await until(() => scheduler.running.size === 0, 'the slow client’s request to finish without it');
  let received = '';
  slow.setEncoding('utf8');
  slow.on('data', (data: string) => {
    received += data;
  });
  slow.resume();
  await until(() => received.includes('[DONE]'), 'the slow client to catch up');
  const events = dechunk(received)
    .split('\n\n')
    .filter((block) => block.startsWith('data: {'))
    .map((block) => JSON.parse(block.slice(6)));
  assert.ok(events.length < tokens / 2, `${events.length} events for ${tokens} tokens`);
  const last = events.at(-1);
  assert.equal(last.output_ids.length, tokens);
  assert.deepEqual(last.meta_info.finish_reason, { type: 'length', length: tokens });
});

/** The body of a chunked HTTP response, of which each character is a byte. */
function dechunk(response: string): string {
  let at = response.indexOf('\r\n\r\n') + 4;
  let body = '';
  for (;;) {
    const line = response.indexOf('\r\n', at);
    const size = Number.parseInt(response.slice(at, line), 16);
    if (!(size > 0)) return body;
    body += response.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
}

test('200 clients at once, half of which disconnect: the others get everything', async (t) => {
  const { url, scheduler, manager } = await startFakeServer(t, { manual: true });
  const clients = 200;
  const leaving: Socket[] = [];
  const staying: Promise<{ id: number; text: string; stream: boolean }>[] = [];
  for (let i = 0; i < clients; i++) {
    const stream = i % 4 < 2;
    const body = { input_ids: [i], sampling_params: { max_new_tokens: 10 }, stream };
    if (i % 2 === 0) leaving.push(rawPost(t, url, '/generate', body));
    else staying.push(post(`${url}/generate`, body).then(({ text }) => ({ id: i, text, stream })));
  }
  await until(() => scheduler.running.size === clients, 'all requests to run');
  scheduler.step();
  for (const socket of leaving) socket.destroy();
  await until(() => scheduler.running.size === clients / 2, 'the aborts');
  while (scheduler.running.size > 0) {
    scheduler.step();
    await sleep(1);
  }
  for (const { id, text, stream } of await Promise.all(staying)) {
    const last = stream ? parseEvents(text).at(-1) : JSON.parse(text);
    assert.deepEqual(last.output_ids, Array(10).fill(id));
  }
  assert.equal(manager.runningRequests, 0);
  assert.equal(new Set(scheduler.aborts).size, clients / 2);
});

test('what one step brings for a batch goes out in one write', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true });
  const socket = rawPost(t, url, '/generate', { input_ids: [[1], [2], [3], [4]], stream: true });
  const reads: string[] = [];
  socket.on('data', (data) => reads.push(data.toString()));
  await until(() => scheduler.running.size === 4);
  scheduler.step();
  await until(() => reads.length > 0);
  reads.length = 0;
  scheduler.step();
  await until(() => reads.length > 0);
  await sleep(20);
  assert.equal(reads.length, 1);
  assert.equal(reads[0]!.match(/data: /g)!.length, 4);
});

/** The ids of a text's bytes in the model's vocabulary. */
const byteIds = (text: string) => [...Buffer.from(text)].map((byte) => 3 + byte);

test('streams that are asked for at once on one connection come one after the other and whole, whatever the characters', async (t) => {
  const { url, scheduler, tokenizer } = await startFakeServer(t);
  const prompts = [byteIds('é'), byteIds('€😀'), [400, 401]];
  const body = (prompt: number[]) => ({
    input_ids: prompt,
    sampling_params: { max_new_tokens: 4 * prompt.length },
    stream: true,
  });
  const socket = rawPost(t, url, '/generate', body(prompts[0]!));
  let received = Buffer.alloc(0);
  socket.on('data', (data) => {
    received = Buffer.concat([received, data]);
  });
  for (const prompt of prompts.slice(1)) {
    const json = JSON.stringify(body(prompt));
    const head = `POST /generate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${json.length}`;
    socket.write(`${head}\r\n\r\n${json}`);
  }
  await until(() => received.toString('latin1').split('[DONE]').length === 4, 'three streams');
  assert.equal(scheduler.running.size, 0);
  const responses = received.toString('latin1').split('HTTP/1.1 200 OK').slice(1);
  assert.equal(responses.length, 3);
  for (const [i, prompt] of prompts.entries()) {
    const events = parseEvents(Buffer.from(dechunk(responses[i]!), 'latin1').toString('utf8'));
    const ids = [...prompt, ...prompt, ...prompt, ...prompt];
    assert.equal(events.length, ids.length);
    assert.deepEqual(events.at(-1).output_ids, ids);
    assert.equal(events.at(-1).text.trimStart(), tokenizer.decode(ids, true));
    assert.deepEqual(events[0].output_ids, ids.slice(0, 1));
  }
});

test('a client of HTTP/1.0 gets the events without chunks, and the end of the connection after them', async (t) => {
  const { url } = await startFakeServer(t);
  const body = { input_ids: [5], sampling_params: { max_new_tokens: 3 }, stream: true };
  const socket = rawPost(t, url, '/generate', body, '1.0');
  let received = '';
  socket.setEncoding('latin1').on('data', (data: string) => {
    received += data;
  });
  await new Promise((resolve) => socket.once('close', resolve));
  assert.match(received, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(received, /transfer-encoding/i);
  const events = received.slice(received.indexOf('\r\n\r\n') + 4);
  assert.match(events, /^data: \{.*data: \[DONE\]\n\n$/s);
  assert.deepEqual(parseEvents(events).at(-1).output_ids, [5, 5, 5]);
});

test('a client that stops reading in the second of two streams on one connection misses nothing', async (t) => {
  const tokens = 6000;
  const { url, scheduler } = await startFakeServer(t, {
    info: { contextLength: 10_000, maxTotalTokens: 20_000 },
  });
  const body = (count: number) => ({ input_ids: [5], sampling_params: { max_new_tokens: count }, stream: true });
  const socket = rawPost(t, url, '/generate', body(20));
  socket.pause();
  const json = JSON.stringify(body(tokens));
  const head = `POST /generate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${json.length}`;
  socket.write(`${head}\r\n\r\n${json}`);
  await until(() => scheduler.received.filter(({ kind }) => kind === 'generate').length === 2, 'both requests');
  await until(() => scheduler.running.size === 0, 'both requests to finish');
  let received = '';
  socket.setEncoding('latin1').on('data', (data: string) => {
    received += data;
  });
  socket.resume();
  await until(() => received.split('[DONE]').length === 3, 'both streams');
  const events = parseEvents(dechunk(received.split('HTTP/1.1 200 OK')[2]!));
  assert.ok(events.length < tokens / 2, `${events.length} events for ${tokens} tokens`);
  assert.equal(events.at(-1).output_ids.length, tokens);
});

test('a connection that brings one stream after the other gathers no listeners', async (t) => {
  const { url } = await startFakeServer(t);
  const warnings: Error[] = [];
  const listen = (warning: Error) => void warnings.push(warning);
  process.on('warning', listen);
  t.after(() => process.off('warning', listen));
  const socket = rawPost(t, url, '/generate', { input_ids: [5], sampling_params: { max_new_tokens: 3 }, stream: true });
  let done = 0;
  socket.setEncoding('latin1').on('data', (data: string) => {
    if (!data.includes('[DONE]')) return;
    done += 1;
    const json = '{"input_ids":[5],"sampling_params":{"max_new_tokens":3},"stream":true}';
    const head = `POST /generate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${json.length}`;
    if (done < 20) socket.write(`${head}\r\n\r\n${json}`);
  });
  await until(() => done === 20, 'twenty streams');
  assert.deepEqual(warnings, []);
});

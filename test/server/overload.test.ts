// 200 clients at a real engine with too little memory for them, half of which go away.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { launchServer } from '#vitrine/index.js';
import { STORIES } from '../support/fake-server.js';
import { get, parseEvents, post, until } from '../support/http.js';

test('half of 200 clients disconnect; the rest get what they would get alone, and nothing is left behind', async (t) => {
  const server = await launchServer({
    modelPath: STORIES,
    port: 0,
    logLevel: 'silent',
    maxRunningRequests: 64,
    maxTotalTokens: 4096, // fewer than the running requests need at their longest: some are retracted
    chunkedPrefillSize: 64,
  });
  t.after(() => server.shutdown());
  const body = (i: number) => ({
    input_ids: [1, 300 + (i % 50), 400],
    sampling_params: { temperature: 0, max_new_tokens: 120, ignore_eos: true },
    stream: i % 4 < 2,
  });
  const alone = new Map<number, number[]>();
  for (let i = 1; i < 200; i += 38) {
    alone.set(i, (await post(`${server.url}/generate`, { ...body(i), stream: false })).body.output_ids);
  }
  const clients = Array.from({ length: 200 }, async (_, i) => {
    if (i % 2 === 1) return post(`${server.url}/generate`, body(i));
    const abort = new AbortController();
    setTimeout(() => abort.abort(), i);
    return post(`${server.url}/generate`, body(i), { signal: abort.signal }).catch(() => null);
  });
  const answers = await Promise.all(clients);
  for (let i = 1; i < 200; i += 2) {
    const { status, text } = answers[i]!;
    assert.equal(status, 200);
    const { output_ids: ids, meta_info: meta } = body(i).stream ? parseEvents(text).at(-1) : JSON.parse(text);
    assert.equal(ids.length, 120);
    assert.deepEqual(meta.finish_reason, { type: 'length', length: 120 });
    if (alone.has(i)) assert.deepEqual(ids, alone.get(i));
  }
  const state = async () => (await get(`${server.url}/server_info`)).body.internal_states[0];
  let idle = false;
  void (async () => {
    while (!idle) {
      const { num_running_reqs: running, num_queue_reqs: waiting, num_used_tokens: used } = await state();
      idle = running === 0 && waiting === 0 && used === 0;
      await sleep(10);
    }
  })();
  await until(() => idle, 'an idle engine');
  assert.equal((await get(`${server.url}/flush_cache`)).status, 200);
  assert.equal((await state()).num_cached_tokens, 0);
});

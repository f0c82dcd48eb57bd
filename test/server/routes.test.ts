// Health, information, administration and metrics.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { SERVER_OPTIONS } from '#vitrine/config/tables/server-options.js';
import { healthOptionsFromEnv } from '#vitrine/server/health.js';
import { startFakeServer } from '../support/fake-server.js';
import { get, post, until } from '../support/http.js';

test('/health asks the engine for one token, and leaves nothing behind', async (t) => {
  const { url, scheduler, manager } = await startFakeServer(t);
  assert.equal((await get(`${url}/health`)).status, 200);
  assert.equal((await get(`${url}/health_generate`)).status, 200);
  assert.equal(scheduler.generated.length, 2);
  assert.equal(scheduler.generated[0]!.sampling.maxNewTokens, 1);
  assert.equal(manager.runningRequests, 0);
});

test('/health takes any output for an answer; checks that come together share a probe', async (t) => {
  const { url, server, scheduler, manager } = await startFakeServer(t, { manual: true });
  let arrived = 0;
  server.app.server.on('request', () => {
    arrived += 1;
  });
  const checks = [1, 2, 3].map(() => get(`${url}/health`));
  await until(() => arrived === 3 && scheduler.running.size === 1);
  await setImmediate(); // the last one has reached its handler
  const [probe] = scheduler.running.keys();
  // A chunk of a request that the front end no longer knows is a sign of life all the same.
  scheduler.send({ rid: 'other', tokenIds: [1], finish: null, cachedTokens: 0, retractions: 0 });
  for (const { status } of await Promise.all(checks)) assert.equal(status, 200);
  await until(() => scheduler.aborts.includes(probe!), 'the probe to be withdrawn');
  assert.equal(manager.runningRequests, 0);
  assert.equal(scheduler.generated.length, 1);
});

test('/health is 503 when the engine says nothing in time', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true, health: { timeoutSeconds: 0.05, probe: true } });
  assert.equal((await get(`${url}/health`)).status, 503);
  await until(() => scheduler.running.size === 0);
});

test('/health without probe, /ping', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true, health: { timeoutSeconds: 20, probe: false } });
  assert.equal((await get(`${url}/health`)).status, 200);
  assert.equal((await get(`${url}/ping`)).status, 200);
  assert.equal(scheduler.generated.length, 0);
});

test('the health variables', () => {
  assert.deepEqual(healthOptionsFromEnv({}), { timeoutSeconds: 20, probe: true });
  assert.deepEqual(
    healthOptionsFromEnv({
      SGLANG_HEALTH_CHECK_TIMEOUT: '5',
      SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: 'false',
    }),
    { timeoutSeconds: 5, probe: false },
  );
});

test('/model_info and its older name', async (t) => {
  const { url } = await startFakeServer(t);
  for (const path of ['/model_info', '/get_model_info']) {
    const { body } = await get(`${url}${path}`);
    assert.equal(body.is_generation, true);
    assert.equal(body.model_type, 'llama');
    assert.deepEqual(body.architectures, ['LlamaForCausalLM']);
    for (const key of ['model_path', 'tokenizer_path', 'preferred_sampling_params', 'weight_version']) {
      assert.ok(key in body, key);
    }
    assert.equal(body.has_image_understanding, false);
    assert.equal(body.has_audio_understanding, false);
  }
});

test('/server_info has all options and what the benches read', async (t) => {
  const { url } = await startFakeServer(t);
  for (const path of ['/server_info', '/get_server_info']) {
    const { body } = await get(`${url}${path}`);
    for (const { flag, key } of SERVER_OPTIONS) {
      if (!key.toLowerCase().includes('apikey')) assert.ok(flag.replaceAll('-', '_') in body, flag);
    }
    assert.equal(body.status, 'ready');
    assert.equal(body.max_total_num_tokens, 8192);
    assert.equal(body.max_req_input_len, 511);
    assert.equal(body.dp_size, 1);
    assert.equal(body.quantization, 'compressed-tensors');
    assert.equal(body.tokenizer_path, body.model_path);
    assert.match(body.version, /^\d+\.\d+\.\d+/);
    const [state, ...others] = body.internal_states;
    assert.equal(others.length, 0);
    assert.equal(state.last_gen_throughput, 123);
    assert.equal(state.effective_max_running_requests_per_dp, 256);
    assert.deepEqual(Object.keys(state.memory_usage), ['weight', 'kvcache', 'token_capacity', 'graph']);
    assert.equal(state.memory_usage.token_capacity, 8192);
    assert.equal('avg_spec_accept_length' in state, false);
  }
});

const FLUSHED =
  'Cache flushed.\nPlease check backend logs for more details. (When there are running or waiting requests, the operation will not be performed.)\n';

test('/flush_cache is 200, or 400 while requests run, with the same words', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true });
  for (const method of ['GET', 'POST']) {
    const response = await fetch(`${url}/flush_cache`, { method });
    assert.equal(response.status, 200);
    assert.equal(await response.text(), FLUSHED);
  }
  const running = post(`${url}/generate`, { input_ids: [5], sampling_params: { max_new_tokens: 1 } });
  await until(() => scheduler.running.size === 1);
  const refused = await get(`${url}/flush_cache`);
  assert.equal(refused.status, 400);
  assert.equal(refused.text, FLUSHED);
  scheduler.step();
  assert.equal((await running).status, 200);
});

test('/abort_request ends a request by its id, with its text so far', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true });
  const reply = post(`${url}/generate`, { input_ids: [5, 6], rid: 'mine' });
  const other = post(`${url}/generate`, { input_ids: [7], rid: 'other', sampling_params: { max_new_tokens: 2 } });
  await until(() => scheduler.running.size === 2);
  scheduler.step();
  assert.equal((await post(`${url}/abort_request`, { rid: 'mine' })).status, 200);
  const { status, body } = await reply;
  assert.equal(status, 200);
  assert.equal(body.meta_info.finish_reason.type, 'abort');
  assert.ok(body.meta_info.finish_reason.message.length > 0);
  scheduler.step();
  assert.deepEqual((await other).body.meta_info.finish_reason, { type: 'length', length: 2 });
});

test('/abort_request: a batch by its one id, all at once, an unknown id, a bad body', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true });
  const batch = post(`${url}/generate`, { input_ids: [[5], [6]], rid: 'b' });
  const single = post(`${url}/v1/completions`, { prompt: [7], n: 2 });
  await until(() => scheduler.running.size === 4);
  assert.equal((await post(`${url}/abort_request`, { rid: 'unknown' })).status, 200);
  assert.equal(scheduler.running.size, 4);
  await post(`${url}/abort_request`, { rid: 'b' });
  assert.equal((await batch).body.length, 2);
  await post(`${url}/abort_request`, { abort_all: true });
  const { body } = await single;
  assert.deepEqual(
    body.choices.map((choice: { finish_reason: string }) => choice.finish_reason),
    ['abort', 'abort'],
  );
  assert.equal((await post(`${url}/abort_request`, {})).status, 400);
  assert.equal((await post(`${url}/abort_request`, { rid: 5 })).status, 400);
});

test('/metrics counts tokens and requests under SGLang’s names', async (t) => {
  const { url } = await startFakeServer(t, { options: { enableMetrics: true } });
  await post(`${url}/generate`, { input_ids: [5, 6, 7], sampling_params: { max_new_tokens: 4 } });
  await post(`${url}/generate`, { input_ids: [[5], [6]], sampling_params: { max_new_tokens: 2 } });
  await get(`${url}/health`); // not a request of a user
  const { status, text } = await get(`${url}/metrics`);
  assert.equal(status, 200);
  const value = (name: string) => {
    const line = text.split('\n').find((one) => one.startsWith(`${name}{`));
    assert.ok(line, `${name} is missing`);
    assert.ok(line.includes('model_name="stories"'), line);
    return Number(line.split(' ').at(-1));
  };
  assert.equal(value('sglang:prompt_tokens_total'), 5);
  assert.equal(value('sglang:generation_tokens_total'), 8);
  assert.equal(value('sglang:cached_tokens_total'), 0);
  assert.equal(value('sglang:num_requests_total'), 3);
  assert.equal(value('sglang:num_running_reqs'), 0);
  assert.equal(value('sglang:num_queue_reqs'), 0);
  assert.equal(value('sglang:token_usage'), 0);
  assert.equal(value('sglang:cache_hit_rate'), 0);
  assert.equal(value('sglang:gen_throughput'), 123);
  assert.equal(value('sglang:time_to_first_token_seconds_count'), 3);
  assert.equal(value('sglang:inter_token_latency_seconds_count'), 5);
  assert.equal(value('sglang:e2e_request_latency_seconds_count'), 3);
  const again = (await get(`${url}/metrics`)).text;
  assert.ok(again.includes('sglang:prompt_tokens_total{model_name="stories"} 5'), 'a scrape adds nothing');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFakeServer } from '../support/fake-server.js';
import { parseEvents, post } from '../support/http.js';

test('one prompt gives an object with text, output_ids and meta_info', async (t) => {
  const { url, tokenizer } = await startFakeServer(t);
  const { status, body } = await post(`${url}/generate`, {
    text: 'Once upon a time',
    sampling_params: { max_new_tokens: 5, temperature: 0 },
  });
  assert.equal(status, 200);
  assert.equal(body.text, ' Once upon a time');
  assert.deepEqual(body.output_ids, await tokenizer.encode('Once upon a time', true));
  const { id, e2e_latency, response_sent_to_client_ts, ...meta } = body.meta_info;
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.ok(e2e_latency >= 0);
  assert.ok(response_sent_to_client_ts > 1e9);
  assert.deepEqual(meta, {
    finish_reason: { type: 'length', length: 5 },
    prompt_tokens: 5,
    weight_version: 'default',
    total_retractions: 0,
    completion_tokens: 5,
    cached_tokens: 0,
  });
});

test('PUT works like POST, and JSON without a content type is read', async (t) => {
  const { url } = await startFakeServer(t);
  const body = JSON.stringify({ input_ids: [5, 6], sampling_params: { max_new_tokens: 1 } });
  const put = await fetch(`${url}/generate`, { method: 'PUT', body, headers: { 'content-type': 'application/json' } });
  assert.equal(put.status, 200);
  const bare = await fetch(`${url}/generate`, { method: 'POST', body: Buffer.from(body) });
  assert.equal(bare.status, 200);
  assert.deepEqual(((await bare.json()) as { output_ids: number[] }).output_ids, [5]);
});

test('without max_new_tokens there are 128, or what fits', async (t) => {
  const { url } = await startFakeServer(t, { info: { contextLength: 200 } });
  const count = async (length: number) => {
    const ids = Array.from({ length }, () => 5);
    return (await post(`${url}/generate`, { input_ids: ids })).body.meta_info.completion_tokens;
  };
  assert.equal(await count(3), 128);
  assert.equal(await count(190), 10);
});

test('lists of prompts give lists, in order; a list of one too', async (t) => {
  const { url } = await startFakeServer(t);
  const sampling_params = { max_new_tokens: 2 };
  const many = await post(`${url}/generate`, { input_ids: [[5], [6], [7]], sampling_params });
  assert.deepEqual(
    many.body.map((one: { output_ids: number[] }) => one.output_ids),
    [
      [5, 5],
      [6, 6],
      [7, 7],
    ],
  );
  const one = await post(`${url}/generate`, { text: ['Once'], sampling_params });
  assert.equal(one.body.length, 1);
});

test('n outputs per prompt, prompt by prompt', async (t) => {
  const { url, scheduler } = await startFakeServer(t);
  const sampling_params = { max_new_tokens: 1, n: 2, sampling_seed: 7 };
  const { body } = await post(`${url}/generate`, { input_ids: [[5], [6]], sampling_params, rid: ['a', 'b'] });
  assert.deepEqual(
    body.map((one: { output_ids: number[]; meta_info: { id: string } }) => [one.meta_info.id, one.output_ids[0]]),
    [
      ['a_0', 5],
      ['a_1', 5],
      ['b_0', 6],
      ['b_1', 6],
    ],
  );
  assert.deepEqual(
    scheduler.generated.map((message) => message.sampling.seed),
    [7, 8, 7, 8],
  );
  const single = await post(`${url}/generate`, { input_ids: [5], sampling_params });
  assert.equal(single.body.length, 2, 'n > 1 of a single prompt is a list');
});

test('sampling_params may be a list', async (t) => {
  const { url } = await startFakeServer(t);
  const { body } = await post(`${url}/generate`, {
    input_ids: [[5], [6]],
    sampling_params: [{ max_new_tokens: 1 }, { max_new_tokens: 3 }],
  });
  assert.deepEqual(
    body.map((one: { output_ids: number[] }) => one.output_ids.length),
    [1, 3],
  );
});

test('a stream is cumulative in text and ids, and ends with [DONE]', async (t) => {
  const { url } = await startFakeServer(t);
  const { status, text } = await post(`${url}/generate`, {
    text: 'Once upon a "time"\n',
    sampling_params: { max_new_tokens: 8, temperature: 0 },
    stream: true,
  });
  assert.equal(status, 200);
  const events = parseEvents(text);
  assert.equal(events.length, 8);
  events.forEach((event, i) => {
    assert.equal(event.output_ids.length, i + 1);
    assert.equal(event.meta_info.completion_tokens, i + 1);
    assert.equal('index' in event, false);
    if (i > 0) assert.ok(event.text.startsWith(events[i - 1].text));
    assert.equal(event.meta_info.finish_reason === null, i < 7);
    assert.equal('e2e_latency' in event.meta_info, i === 7);
  });
  const whole = await post(`${url}/generate`, {
    text: 'Once upon a "time"\n',
    sampling_params: { max_new_tokens: 8, temperature: 0 },
  });
  assert.equal(events.at(-1).text, whole.body.text);
  assert.deepEqual(events.at(-1).output_ids, whole.body.output_ids);
});

test('--stream-output makes ids disjoint and leaves text cumulative; replies without stream are whole', async (t) => {
  const { url } = await startFakeServer(t, { options: { streamOutput: true } });
  const request = { input_ids: [5, 6, 7], sampling_params: { max_new_tokens: 5 } };
  const events = parseEvents((await post(`${url}/generate`, { ...request, stream: true })).text);
  assert.deepEqual(
    events.map((event) => event.output_ids),
    [[5], [6], [7], [5], [6]],
  );
  const whole = (await post(`${url}/generate`, request)).body;
  assert.equal(events.at(-1).text, whole.text);
  assert.deepEqual(whole.output_ids, [5, 6, 7, 5, 6]);
});

test('a stream of a batch interleaves its outputs, each with its index', async (t) => {
  const { url } = await startFakeServer(t);
  const { text } = await post(`${url}/generate`, {
    input_ids: [[5], [6]],
    sampling_params: [{ max_new_tokens: 2 }, { max_new_tokens: 4 }],
    stream: true,
  });
  const events = parseEvents(text);
  for (const [index, count] of [
    [0, 2],
    [1, 4],
  ]) {
    const own = events.filter((event) => event.index === index);
    assert.equal(own.length, count);
    assert.deepEqual(new Set(own.at(-1).output_ids), new Set([5 + index!]));
    assert.deepEqual(own.at(-1).meta_info.finish_reason, { type: 'length', length: count });
  }
  assert.deepEqual(
    events.slice(0, 4).map((event) => event.index),
    [0, 1, 0, 1],
  );
});

test('--stream-interval and the request’s own', async (t) => {
  const { url } = await startFakeServer(t, { options: { streamInterval: 3 } });
  const counts = async (sampling: object) => {
    const { text } = await post(`${url}/generate`, {
      input_ids: [5],
      sampling_params: { max_new_tokens: 8, ...sampling },
      stream: true,
    });
    return parseEvents(text).map((event) => event.meta_info.completion_tokens);
  };
  assert.deepEqual(await counts({}), [1, 4, 7, 8]);
  assert.deepEqual(await counts({ stream_interval: 5 }), [1, 6, 8]);
});

test('log-probabilities of input and output, most likely and watched tokens, with text if wanted', async (t) => {
  const { url, tokenizer } = await startFakeServer(t);
  const request = {
    input_ids: [400, 401],
    sampling_params: { max_new_tokens: 2 },
    return_logprob: true,
    logprob_start_len: 0,
    top_logprobs_num: 2,
    token_ids_logprob: [9],
  };
  const { meta_info: meta } = (await post(`${url}/generate`, request)).body;
  assert.deepEqual(meta.input_token_logprobs, [
    [null, 400, null],
    [-0.401, 401, null],
  ]);
  assert.deepEqual(meta.output_token_logprobs, [
    [-0.4, 400, null],
    [-0.401, 401, null],
  ]);
  const top = [
    [-0, 0, null],
    [-0.001, 1, null],
  ];
  assert.deepEqual(JSON.stringify(meta.input_top_logprobs), JSON.stringify([null, top]));
  assert.deepEqual(JSON.stringify(meta.output_top_logprobs), JSON.stringify([top, top]));
  assert.deepEqual(meta.output_token_ids_logprobs, [[[-0.009, 9, null]], [[-0.009, 9, null]]]);
  const withText = await post(`${url}/generate`, { ...request, return_text_in_logprobs: true });
  assert.deepEqual(withText.body.meta_info.output_token_logprobs[0], [-0.4, 400, tokenizer.tokenText(400)]);
  const { text } = await post(`${url}/generate`, { ...request, stream: true });
  const events = parseEvents(text);
  assert.equal(events[0].meta_info.output_token_logprobs.length, 1);
  assert.deepEqual(events.at(-1).meta_info.output_token_logprobs, meta.output_token_logprobs, 'cumulative');
  assert.deepEqual(events.at(-1).meta_info.input_token_logprobs, meta.input_token_logprobs);
});

test('log-probabilities of the output alone have empty input lists; none were asked for: no lists', async (t) => {
  const { url } = await startFakeServer(t);
  const request = { input_ids: [5], sampling_params: { max_new_tokens: 1 } };
  const { meta_info: meta } = (await post(`${url}/generate`, { ...request, return_logprob: true })).body;
  assert.deepEqual(meta.input_token_logprobs, []);
  assert.equal(meta.output_token_logprobs.length, 1);
  assert.equal('output_top_logprobs' in meta, false);
  const without = (await post(`${url}/generate`, request)).body;
  assert.equal('output_token_logprobs' in without.meta_info, false);
});

test('logprob fields of a batch may be lists', async (t) => {
  const { url } = await startFakeServer(t);
  const { body } = await post(`${url}/generate`, {
    input_ids: [[5], [6]],
    sampling_params: { max_new_tokens: 1 },
    return_logprob: [false, true],
    top_logprobs_num: [0, 3],
  });
  assert.equal('output_token_logprobs' in body[0].meta_info, false);
  assert.equal(body[1].meta_info.output_top_logprobs[0].length, 3);
});

test('without a tokenizer there are ids and no text', async (t) => {
  const { url } = await startFakeServer(t, { options: { skipTokenizerInit: true } });
  const { body } = await post(`${url}/generate`, { input_ids: [5, 6], sampling_params: { max_new_tokens: 2 } });
  assert.deepEqual(body.output_ids, [5, 6]);
  assert.equal('text' in body, false);
  assert.equal((await post(`${url}/generate`, { text: 'x' })).status, 400);
});

test('what SGLang’s benches send by default is accepted, and unknown keys are ignored', async (t) => {
  const { url } = await startFakeServer(t);
  const { status } = await post(`${url}/generate`, {
    text: 'Once',
    sampling_params: { temperature: 0.0, max_new_tokens: 2, ignore_eos: true },
    stream: true,
    lora_path: null,
    return_logprob: false,
    return_routed_experts: false,
    logprob_start_len: -1,
    parallel_batch: true,
    image_data: null,
  });
  assert.equal(status, 200);
});

test('/generate takes no sampling defaults from the model', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { samplingDefaults: { temperature: 0.6, top_k: 20 } });
  await post(`${url}/generate`, { text: 'Once', sampling_params: { max_new_tokens: 1 } });
  assert.equal(scheduler.generated[0]!.sampling.temperature, 1);
  assert.equal(scheduler.generated[0]!.sampling.topK, -1);
});

test('--enable-metrics adds timing keys to the last meta_info', async (t) => {
  const { url } = await startFakeServer(t, { options: { enableMetrics: true } });
  const { body } = await post(`${url}/generate`, { text: 'Once upon', sampling_params: { max_new_tokens: 3 } });
  for (const key of ['request_received_ts', 'request_finished_ts', 'queue_time', 'inference_time']) {
    assert.equal(typeof body.meta_info[key], 'number', key);
  }
});

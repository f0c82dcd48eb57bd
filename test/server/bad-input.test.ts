// What a client can do wrong, and what it is told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFakeServer } from '../support/fake-server.js';
import { parseEvents, post } from '../support/http.js';

/** A body of the wrong shape: SGLang's validation error. */
const SHAPE: readonly [string, unknown][] = [
  ['malformed JSON', '{"text": '],
  ['NaN', '{"text": NaN}'],
  ['nothing', ''],
  ['a list', []],
  ['a string', '"text"'],
  ['null', 'null'],
  ['text as number', { text: 5 }],
  ['text as object', { text: {} }],
  ['a number among texts', { text: ['a', 5] }],
  ['input_ids as string', { input_ids: 'abc' }],
  ['a string among ids', { input_ids: [1, 'a'] }],
  ['a fraction among ids', { input_ids: [1.5] }],
  ['a text among id lists', { input_ids: [[1], 'a'] }],
  ['an id among id lists', { input_ids: [[1], 2] }],
  ['sampling_params as string', { text: 'x', sampling_params: 'hot' }],
  ['sampling_params with a string in the list', { text: ['x'], sampling_params: ['hot'] }],
  ['stream as number', { text: 'x', stream: 1 }],
  ['rid as number', { text: 'x', rid: 5 }],
  ['return_logprob as string', { text: 'x', return_logprob: 'yes' }],
  ['top_logprobs_num as fraction', { text: 'x', return_logprob: true, top_logprobs_num: 1.5 }],
  ['a list of return_logprob for one prompt', { text: 'x', return_logprob: [true] }],
];

/** A value that makes no sense: /generate's own error. */
const VALUE: readonly [string, unknown, RegExp][] = [
  ['neither text nor ids', {}, /Exactly one of text and input_ids/],
  ['both text and ids', { text: 'x', input_ids: [1] }, /Exactly one of text and input_ids/],
  ['empty text', { text: '' }, /empty/],
  ['empty ids', { input_ids: [] }, /empty/],
  ['an empty batch', { text: [] }, /at least one prompt/],
  ['an empty prompt in a batch', { text: ['x', ''] }, /empty/],
  ['empty ids in a batch', { input_ids: [[1], []] }, /empty/],
  ['an id beyond the vocabulary', { input_ids: [1, 512] }, /input_ids\[1\].*\[0, 512\).*512/],
  ['a negative id', { input_ids: [-1] }, /input_ids\[0\].*-1/],
  ['a huge id', { input_ids: [1e300] }, /1e\+300/],
  ['a prompt longer than the context', { input_ids: Array(600).fill(5) }, /600 tokens.*512 tokens/],
  ['huge max_new_tokens', { text: 'x', sampling_params: { max_new_tokens: 1e9 } }, /512 tokens.*1000000000/],
  ['one token too many', { input_ids: [5, 5], sampling_params: { max_new_tokens: 511 } }, /2 tokens.*511.*513/],
  ['top_p out of range', { text: 'x', sampling_params: { top_p: 2 } }, /sampling_params\.top_p/],
  ['a wrong key', { text: 'x', sampling_params: { max_tokens: 2 } }, /sampling_params\.max_tokens/],
  ['a grammar', { text: 'x', sampling_params: { regex: 'a' } }, /sampling_params\.regex/],
  ['too few sampling_params', { text: ['x', 'y'], sampling_params: [{}] }, /sampling_params.*2.*1/],
  ['too many rids', { text: ['x'], rid: ['a', 'b'] }, /rid.*1.*2/],
  ['one rid twice', { text: ['x', 'y'], rid: ['a', 'a'] }, /a is already running/],
  ['logprob_start_len too small', { text: 'x', return_logprob: true, logprob_start_len: -2 }, /logprob_start_len/],
  ['logprob_start_len beyond the prompt', { input_ids: [5], return_logprob: true, logprob_start_len: 9 }, /9/],
  ['watched ids beyond the vocabulary', { input_ids: [5], return_logprob: true, token_ids_logprob: [600] }, /600/],
  ['images', { text: 'x', image_data: 'http://x/y.png' }, /image_data/],
  ['an adapter', { text: 'x', lora_path: 'adapter' }, /lora_path/],
  ['embeddings', { text: 'x', input_embeds: [[0.5]] }, /input_embeds/],
  ['hidden states', { text: 'x', return_hidden_states: true }, /return_hidden_states/],
  ['disaggregation', { text: 'x', bootstrap_host: 'h' }, /bootstrap_host/],
];

function assertShapeError(body: Record<string, unknown>): void {
  const { message, param, ...rest } = body;
  assert.deepEqual(rest, { object: 'error', type: 'Bad Request', code: 400 });
  assert.ok(typeof message === 'string' && message.length > 0);
  assert.ok(param === null || typeof param === 'string');
}

test('bodies of the wrong shape', async (t) => {
  const { url, scheduler } = await startFakeServer(t);
  for (const [name, body] of SHAPE) {
    await t.test(name, async () => {
      const answer = await post(`${url}/generate`, body);
      assert.equal(answer.status, 400, answer.text);
      assertShapeError(answer.body);
    });
  }
  assert.equal(scheduler.generated.length, 0);
});

test('values that make no sense, streamed or not', async (t) => {
  const { url, scheduler } = await startFakeServer(t);
  for (const [name, body, message] of VALUE) {
    for (const stream of [false, true]) {
      await t.test(`${name}${stream ? ' (stream)' : ''}`, async () => {
        const answer = await post(`${url}/generate`, { ...(body as object), stream });
        assert.equal(answer.status, 400, answer.text);
        assert.deepEqual(Object.keys(answer.body), ['error']);
        assert.deepEqual(Object.keys(answer.body.error), ['message']);
        assert.match(answer.body.error.message, message);
      });
    }
  }
  assert.equal(scheduler.generated.length, 0, 'nothing of a bad request runs');
});

const OPENAI: readonly [string, string, unknown, RegExp][] = [
  ['no prompt', 'completions', {}, /Prompt cannot be empty/],
  ['an empty prompt', 'completions', { prompt: '' }, /empty/],
  ['an empty list', 'completions', { prompt: [] }, /empty/],
  ['a prompt of the wrong type', 'completions', { prompt: 5 }, /prompt must be/],
  ['ids beyond the vocabulary', 'completions', { prompt: [5, 999] }, /999/],
  ['best_of', 'completions', { prompt: 'x', best_of: 3 }, /best_of must equal n/],
  ['a suffix', 'completions', { prompt: 'x', suffix: 'y' }, /suffix/],
  ['logprobs as boolean', 'completions', { prompt: 'x', logprobs: true }, /logprobs/],
  ['max_tokens too large', 'completions', { prompt: 'x', max_tokens: 100000 }, /100000.*512|512.*100000/],
  ['temperature as string', 'completions', { prompt: 'x', temperature: 'a' }, /^temperature must be a number/],
  ['seed as fraction', 'completions', { prompt: 'x', seed: 0.5 }, /^seed must be an integer/],
  ['json mode', 'completions', { prompt: 'x', response_format: { type: 'json_object' } }, /response_format/],
  ['stream_options as list', 'completions', { prompt: 'x', stream_options: [] }, /stream_options/],
  ['no messages', 'chat/completions', {}, /messages/],
  ['messages as string', 'chat/completions', { messages: 'hi' }, /messages/],
  ['an empty conversation', 'chat/completions', { messages: [] }, /messages/],
  ['a message without role', 'chat/completions', { messages: [{ content: 'x' }] }, /messages\[0\]\.role/],
  ['content as number', 'chat/completions', { messages: [{ role: 'user', content: 5 }] }, /messages\[0\]\.content/],
  ['tools', 'chat/completions', { messages: [], tools: [{ type: 'function' }] }, /^tools/],
  ['functions', 'chat/completions', { messages: [], functions: [{ name: 'f' }] }, /^functions/],
  ['audio', 'chat/completions', { messages: [], modalities: ['text', 'audio'] }, /^modalities/],
  ['top_logprobs alone', 'chat/completions', { messages: [], top_logprobs: 2 }, /^top_logprobs needs logprobs/],
  ['max_completion_tokens', 'chat/completions', { messages: [], max_completion_tokens: -1 }, /^max_completion_tokens/],
  ['a wrong type in n', 'chat/completions', { messages: [], n: 'two' }, /^n must be an integer/],
  ['malformed JSON', 'chat/completions', '{', /JSON/],
];

test('the OpenAI routes', async (t) => {
  const { url, scheduler } = await startFakeServer(t);
  for (const [name, route, body, message] of OPENAI) {
    await t.test(`${route}: ${name}`, async () => {
      const answer = await post(`${url}/v1/${route}`, body);
      assert.equal(answer.status, 400, answer.text);
      assert.match(answer.body.message, message);
      assert.equal(answer.body.object, 'error');
      assert.equal(answer.body.code, 400);
      assert.ok(['Bad Request', 'BadRequestError'].includes(answer.body.type));
    });
  }
  assert.equal(scheduler.generated.length, 0);
});

test('an image in a message is refused by its place', async (t) => {
  const { url } = await startFakeServer(t);
  const content = [{ type: 'image_url', image_url: { url: 'http://x/y.png' } }];
  const answer = await post(`${url}/v1/chat/completions`, { messages: [{ role: 'user', content }] });
  assert.equal(answer.status, 400);
  assert.match(answer.body.message, /messages\[0\]\.content\[0\]/);
});

test('another content type than JSON', async (t) => {
  const { url } = await startFakeServer(t);
  for (const [path, type] of [
    ['/v1/completions', 'text/plain'],
    ['/v1/chat/completions', 'application/x-www-form-urlencoded'],
    ['/generate', 'text/plain'],
  ]) {
    const answer = await post(`${url}${path}`, '{"prompt":"x","text":"x"}', { headers: { 'content-type': type! } });
    assert.equal(answer.status, 400);
    assertShapeError(answer.body);
    assert.match(answer.body.message, /application\/json/);
  }
  const charset = { headers: { 'content-type': 'application/json; charset=utf-8' } };
  assert.equal((await post(`${url}/v1/completions`, { prompt: 'x', max_tokens: 1 }, charset)).status, 200);
});

test('an unknown route, and a known one with the wrong method', async (t) => {
  const { url } = await startFakeServer(t);
  for (const [path, method] of [
    ['/v1/unknown', 'POST'],
    ['/generate', 'GET'],
    ['/metrics', 'GET'],
  ]) {
    const response = await fetch(`${url}${path}`, { method: method! });
    assert.equal(response.status, 404);
    const body = (await response.json()) as Record<string, unknown>;
    assert.deepEqual(body, {
      object: 'error',
      message: `Not Found: ${method} ${path}`,
      type: '404',
      param: null,
      code: 404,
    });
  }
});

test('what the scheduler refuses has its HTTP status, streamed or not', async (t) => {
  const { url } = await startFakeServer(t, {
    refuse: () => ({ type: 'abort', message: 'The queue is full.', statusCode: 503, errType: 'ServiceUnavailable' }),
  });
  for (const stream of [false, true]) {
    const native = await post(`${url}/generate`, { text: 'x', stream });
    assert.equal(native.status, 503);
    assert.deepEqual(native.body, {
      object: 'error',
      message: 'The queue is full.',
      type: '503',
      param: null,
      code: 503,
    });
    const completion = await post(`${url}/v1/completions`, { prompt: 'x', stream });
    assert.equal(completion.status, 503);
  }
});

test('an engine that fails in the middle of a stream ends it with an error event', async (t) => {
  const { url, scheduler } = await startFakeServer(t, { manual: true });
  const send = async (path: string, body: object) => {
    const reply = post(`${url}${path}`, { ...body, stream: true });
    return reply;
  };
  const replies = [
    send('/generate', { input_ids: [5] }),
    send('/v1/completions', { prompt: [5] }),
    send('/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }] }),
  ];
  while (scheduler.running.size < 3) await new Promise((resolve) => setTimeout(resolve, 2));
  scheduler.step();
  scheduler.die('step 7 failed');
  const [native, completion, chat] = await Promise.all(replies);
  assert.deepEqual(parseEvents(native!.text).at(-1), { error: { message: 'step 7 failed' } });
  for (const answer of [completion!, chat!]) {
    const { error } = parseEvents(answer.text).at(-1);
    assert.deepEqual(error, { object: 'error', message: 'step 7 failed', type: '500', param: null, code: 500 });
  }
  const later = await post(`${url}/generate`, { text: 'x' });
  assert.equal(later.status, 500);
  assert.match(later.body.message, /step 7 failed/);
});

// The OpenAI routes, called by the official client.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import OpenAI from 'openai';
import { type FakeServer, type FakeServerOptions, startFakeServer } from '../support/fake-server.js';
import { get, parseEvents, post, until } from '../support/http.js';

async function start(
  t: TestContext,
  options: FakeServerOptions = {},
): Promise<FakeServer & { client: never; openai: OpenAI }> {
  const server = await startFakeServer(t, options);
  const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
  return { ...server, client: undefined as never, openai };
}

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

test('completions', async (t) => {
  const { openai } = await start(t);
  const { choices, usage, object, model, id } = await openai.completions.create({
    model: 'any',
    prompt: 'Once upon a time',
    max_tokens: 5,
    temperature: 0,
  });
  assert.equal(object, 'text_completion');
  assert.equal(model, 'any');
  assert.match(id, /^cmpl-/);
  assert.equal(choices.length, 1);
  assert.equal(choices[0]!.text, ' Once upon a time');
  assert.equal(choices[0]!.finish_reason, 'length');
  assert.equal(usage!.prompt_tokens, 5);
  assert.equal(usage!.completion_tokens, 5);
  assert.equal(usage!.total_tokens, 10);
});

test('every form of prompt, n each', async (t) => {
  const { openai } = await start(t);
  const texts = async (prompt: string | string[] | number[] | number[][], n = 1) => {
    const { choices, usage } = await openai.completions.create({ model: 'm', prompt, n, max_tokens: 1 });
    assert.deepEqual(
      choices.map(({ index }) => index),
      choices.map((_, i) => i),
    );
    return { texts: choices.map(({ text }) => text), prompt: usage!.prompt_tokens };
  };
  assert.deepEqual(await texts([400, 401]), { texts: (await texts([[400, 401]])).texts, prompt: 2 });
  const two = await texts([[400], [401]], 2);
  assert.equal(two.prompt, 2, 'a prompt counts once');
  assert.equal(two.texts.length, 4);
  assert.equal(two.texts[0], two.texts[1]);
  assert.notEqual(two.texts[0], two.texts[2]);
  assert.equal((await texts(['Once', 'Twice'])).texts.length, 2);
});

test('streamed completions join to the whole; usage comes last when asked for', async (t) => {
  const { openai } = await start(t);
  const request = { model: 'm', prompt: 'Once upon a time', max_tokens: 12, temperature: 0 };
  const whole = await openai.completions.create(request);
  let text = '';
  let finish: string | null = null;
  const usages: (number | undefined)[] = [];
  const stream = await openai.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usages.push(chunk.usage?.completion_tokens);
    if (chunk.usage !== undefined && chunk.usage !== null) assert.deepEqual(chunk.choices, []);
  }
  assert.equal(text, whole.choices[0]!.text);
  assert.equal(finish, 'length');
  assert.equal(usages.at(-1), 12);
  assert.ok(usages.slice(0, -1).every((usage) => usage === undefined));
});

test('continuous_usage_stats counts in every chunk', async (t) => {
  const { url } = await start(t);
  const { text } = await post(`${url}/v1/completions`, {
    prompt: [5, 6],
    max_tokens: 3,
    stream: true,
    stream_options: { continuous_usage_stats: true },
  });
  assert.deepEqual(
    parseEvents(text).map((event) => event.usage.completion_tokens),
    [1, 2, 3],
  );
});

test('streams without include_usage have no chunk without choices', async (t) => {
  const { url } = await start(t);
  for (const [path, body] of [
    ['completions', { prompt: 'x' }],
    ['chat/completions', { messages }],
  ] as const) {
    const { text } = await post(`${url}/v1/${path}`, { ...body, max_tokens: 3, stream: true });
    assert.ok(parseEvents(text).every((event) => event.choices.length === 1 && event.usage === null));
  }
});

test('completion log-probabilities, with the prompt’s when it is echoed', async (t) => {
  const { openai } = await start(t);
  const request = { model: 'm', prompt: 'Once upon a time', max_tokens: 3, temperature: 0, logprobs: 2 };
  const plain = (await openai.completions.create(request)).choices[0]!;
  assert.equal(plain.logprobs!.tokens!.length, 3);
  assert.equal(Object.keys(plain.logprobs!.top_logprobs![0]!).length, 2);
  const echoed = (await openai.completions.create({ ...request, echo: true })).choices[0]!;
  assert.equal(echoed.text, `Once upon a time${plain.text}`);
  assert.equal(echoed.logprobs!.tokens!.length, 5 + 3);
  assert.equal(echoed.logprobs!.token_logprobs![0], null);
  assert.deepEqual(echoed.logprobs!.tokens!.slice(5), plain.logprobs!.tokens);
  // Every token that has text stands where its offset says.
  const { tokens, text_offset: offsets } = echoed.logprobs!;
  for (let i = 2; i < tokens!.length; i++) {
    if (tokens![i] === '<s>') continue;
    assert.equal(echoed.text.slice(offsets![i]!, offsets![i]! + tokens![i]!.length), tokens![i]);
  }
  const streamed: { tokens: string[]; offsets: number[] } = { tokens: [], offsets: [] };
  const stream = await openai.completions.create({ ...request, echo: true, stream: true });
  for await (const { choices } of stream) {
    streamed.tokens.push(...choices[0]!.logprobs!.tokens!);
    streamed.offsets.push(...choices[0]!.logprobs!.text_offset!);
  }
  assert.deepEqual(streamed, { tokens, offsets });
});

test('max_tokens 0 with echo scores a prompt', async (t) => {
  const { openai } = await start(t);
  const { choices, usage } = await openai.completions.create({
    model: 'm',
    prompt: 'Once upon',
    max_tokens: 0,
    echo: true,
    logprobs: 1,
  });
  assert.equal(choices[0]!.text, 'Once upon');
  assert.equal(usage!.completion_tokens, 0);
  assert.equal(choices[0]!.logprobs!.tokens!.length, usage!.prompt_tokens);
});

test('chat', async (t) => {
  const { openai, scheduler, tokenizer } = await start(t);
  const reply = await openai.chat.completions.create({
    model: 'm',
    messages,
    max_completion_tokens: 4,
    temperature: 0,
  });
  assert.equal(reply.object, 'chat.completion');
  assert.match(reply.id, /^chatcmpl-/);
  assert.equal(reply.choices[0]!.message.role, 'assistant');
  const ids = await tokenizer.encode('Once upon a time', false);
  assert.deepEqual(scheduler.generated[0]!.inputIds, ids, 'the template decides about special tokens');
  assert.equal(reply.choices[0]!.message.content, tokenizer.decode(ids, true).replace(/^(?! )/, ' '));
  assert.equal(reply.choices[0]!.finish_reason, 'length');
});

test('streamed chat: the role first, then text, then the reason; n choices', async (t) => {
  const { openai } = await start(t);
  const request = { model: 'm', messages, max_tokens: 6, temperature: 0, n: 2 };
  const whole = await openai.chat.completions.create(request);
  const texts = ['', ''];
  const roles: (string | undefined)[][] = [[], []];
  const reasons: (string | null)[][] = [[], []];
  for await (const chunk of await openai.chat.completions.create({ ...request, stream: true })) {
    const choice = chunk.choices[0]!;
    texts[choice.index] += choice.delta.content ?? '';
    roles[choice.index]!.push(choice.delta.role);
    reasons[choice.index]!.push(choice.finish_reason);
  }
  assert.deepEqual(
    texts,
    whole.choices.map((choice) => choice.message.content),
  );
  for (const index of [0, 1]) {
    assert.equal(roles[index]![0], 'assistant');
    assert.ok(roles[index]!.slice(1).every((role) => role === undefined));
    assert.equal(reasons[index]!.at(-1), 'length');
    assert.ok(reasons[index]!.slice(0, -1).every((reason) => reason === null));
  }
});

test('chat log-probabilities, whole and streamed', async (t) => {
  const { openai } = await start(t);
  const request = { model: 'm', messages, max_tokens: 3, temperature: 0, logprobs: true, top_logprobs: 2 };
  const { content } = (await openai.chat.completions.create(request)).choices[0]!.logprobs!;
  assert.equal(content!.length, 3);
  assert.equal(content![0]!.top_logprobs.length, 2);
  assert.deepEqual(content![0]!.bytes, [...Buffer.from(content![0]!.token)]);
  const streamed: unknown[] = [];
  for await (const chunk of await openai.chat.completions.create({ ...request, stream: true })) {
    streamed.push(...(chunk.choices[0]!.logprobs?.content ?? []));
  }
  assert.deepEqual(streamed, content);
});

test('stop strings and stop tokens: the reason, and what matched', async (t) => {
  const { url, tokenizer } = await start(t);
  const first = (await tokenizer.encode('Once upon a time', false))[1]!;
  const byText = await post(`${url}/v1/completions`, { prompt: 'Once upon a time', max_tokens: 50, stop: ['upon'] });
  assert.equal(byText.body.choices[0].finish_reason, 'stop');
  assert.equal(byText.body.choices[0].matched_stop, 'upon');
  assert.equal(byText.body.choices[0].text, ' Once ');
  const byToken = await post(`${url}/v1/completions`, {
    prompt: 'Once upon a time',
    max_tokens: 50,
    stop_token_ids: [first],
  });
  assert.equal(byToken.body.choices[0].finish_reason, 'stop');
  assert.equal(byToken.body.choices[0].matched_stop, first);
});

test('all sampling parameters reach the scheduler', async (t) => {
  const { url, scheduler } = await start(t);
  const sampling = {
    temperature: 0.5,
    top_p: 0.9,
    top_k: 7,
    min_p: 0.1,
    frequency_penalty: 0.2,
    presence_penalty: 0.3,
    repetition_penalty: 1.1,
    logit_bias: { '5': 2 },
    seed: 11,
    ignore_eos: true,
    min_tokens: 2,
    stop_token_ids: [9],
    max_tokens: 3,
    user: 'somebody',
  };
  await post(`${url}/v1/completions`, { prompt: 'x', ...sampling });
  await post(`${url}/v1/chat/completions`, { messages, ...sampling });
  for (const { sampling: sent } of scheduler.generated) {
    assert.deepEqual(sent, {
      temperature: 0.5,
      topP: 0.9,
      topK: 7,
      minP: 0.1,
      frequencyPenalty: 0.2,
      presencePenalty: 0.3,
      repetitionPenalty: 1.1,
      logitBias: [[5, 2]],
      seed: 11,
      ignoreEos: true,
      minNewTokens: 2,
      stopTokenIds: [9],
      maxNewTokens: 3,
    });
  }
});

test('without max_tokens the output may fill the context; generation_config.json gives defaults', async (t) => {
  const { openai, scheduler } = await start(t, {
    samplingDefaults: { temperature: 0.6, top_k: 20 },
    info: { contextLength: 64 },
  });
  await openai.completions.create({ model: 'm', prompt: [5, 6] });
  await openai.completions.create({ model: 'm', prompt: [5, 6], max_tokens: 1, temperature: 0 });
  const [byDefault, given] = scheduler.generated.map((message) => message.sampling);
  assert.equal(byDefault!.maxNewTokens, 62);
  assert.equal(byDefault!.temperature, 0.6);
  assert.equal(byDefault!.topK, 20);
  assert.equal(given!.temperature, 0);
});

test('the last message of an assistant can be continued', async (t) => {
  const { url, scheduler, tokenizer } = await start(t);
  await post(`${url}/v1/chat/completions`, {
    messages: [...messages, { role: 'assistant', content: ' there was' }],
    continue_final_message: true,
    max_tokens: 1,
  });
  assert.equal(tokenizer.decode(scheduler.generated[0]!.inputIds, true), 'Once upon a time there was');
});

test('a model without a chat template says so', async (t) => {
  const { openai } = await start(t, { withoutChatTemplate: true });
  await assert.rejects(
    openai.chat.completions.create({ model: 'm', messages }),
    (error: InstanceType<typeof OpenAI.APIError>) => {
      assert.equal(error.status, 400);
      return true;
    },
  );
});

test('cached tokens are told with --enable-cache-report only', async (t) => {
  const { openai } = await start(t, { options: { enableCacheReport: true } });
  const { usage } = await openai.completions.create({ model: 'm', prompt: 'x', max_tokens: 1 });
  assert.deepEqual(usage!.prompt_tokens_details, { cached_tokens: 0 });
});

test('models', async (t) => {
  const { openai, url } = await start(t, { modelName: 'org/name' });
  const { data } = await openai.models.list();
  assert.deepEqual(
    data.map(({ id }) => id),
    ['org/name'],
  );
  assert.equal((await openai.models.retrieve('org/name')).id, 'org/name');
  assert.equal((await get(`${url}/v1/models/org/name`)).body.max_model_len, 512);
  await assert.rejects(openai.models.retrieve('other/name'), (error: InstanceType<typeof OpenAI.APIError>) => {
    assert.equal(error.status, 404);
    assert.equal(error.code, 'model_not_found');
    return true;
  });
});

test('closing a stream aborts its request', async (t) => {
  const { openai, scheduler } = await start(t, { manual: true });
  const reading = openai.chat.completions.create({ model: 'm', messages, stream: true });
  await until(() => scheduler.running.size === 1);
  scheduler.step();
  const stream = await reading;
  for await (const _ of stream) break;
  await until(() => scheduler.running.size === 0, 'the abort');
});

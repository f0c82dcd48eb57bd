// The library: a model in this process.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Engine, VitrineError } from '#vitrine/index.js';
import { modelDirectory, readReference } from '../reference/reference-files.js';

const STORIES = modelDirectory('stories260K');
const OPTIONS = { modelPath: STORIES, memFractionStatic: 0.02, logLevel: 'silent' } as const;

let engine: Engine;
before(async () => {
  engine = await Engine.launch(OPTIONS);
});
after(() => engine.close());

const greedy = { temperature: 0, ignoreEos: true } as const;

function rejects(promise: PromiseLike<unknown>, code: string, words: RegExp): Promise<void> {
  return assert.rejects(Promise.resolve(promise), (error: unknown) => {
    assert.ok(error instanceof VitrineError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, words);
    return true;
  });
}

test('awaiting a request gives its result', async () => {
  const [reference] = readReference('stories260K').text_cases!;
  const { prompt, prompt_ids, greedy_ids, full_text } = reference!;
  const result = await engine.generate({ prompt, samplingParams: { ...greedy, maxNewTokens: greedy_ids.length } });
  assert.equal(prompt + result.text, full_text);
  assert.deepEqual(result.tokenIds, greedy_ids);
  assert.equal(result.promptTokens, prompt_ids.length);
  assert.equal(result.completionTokens, greedy_ids.length);
  assert.deepEqual(result.finishReason, { type: 'length', length: greedy_ids.length });
  assert.equal(result.outputLogprobs, null);
});

test('iterating gives the same in pieces', async () => {
  const request = { prompt: 'Once upon a time', samplingParams: { ...greedy, maxNewTokens: 40 } };
  const whole = await engine.generate(request);
  let text = '';
  const ids: number[] = [];
  let last = null;
  for await (const chunk of engine.generate(request)) {
    text += chunk.text;
    ids.push(...chunk.tokenIds);
    last = chunk.finishReason;
  }
  assert.equal(text, whole.text);
  assert.deepEqual(ids, whole.tokenIds);
  assert.deepEqual(last, whole.finishReason);
});

test('a reader that dawdles misses nothing', async () => {
  const request = { prompt: 'Once upon a time', samplingParams: { ...greedy, maxNewTokens: 30 } };
  const generation = engine.generate(request);
  const { text } = await generation; // all is there before the first chunk is taken
  const chunks = [];
  for await (const chunk of generation) chunks.push(chunk);
  assert.equal(chunks.map((chunk) => chunk.text).join(''), text);
  assert.equal(chunks.length, 1, 'what came meanwhile is one chunk');
  assert.notEqual(chunks[0]!.finishReason, null);
});

test('n outputs, by index; a seed repeats them', async () => {
  const request = { prompt: 'Once', samplingParams: { n: 3, seed: 5, maxNewTokens: 20 } };
  const results = await engine.generate(request).all();
  assert.deepEqual(
    results.map(({ index }) => index),
    [0, 1, 2],
  );
  assert.ok(new Set(results.map(({ text }) => text)).size > 1);
  const texts = ['', '', ''];
  for await (const { index, text } of engine.generate(request)) texts[index] += text;
  assert.deepEqual(
    texts,
    results.map(({ text }) => text),
  );
  const second = await engine.generate({ prompt: 'Once', samplingParams: { seed: 6, maxNewTokens: 20 } });
  assert.equal(second.text, results[1]!.text, 'output i is that of seed + i');
});

test('token ids in, log-probabilities out', async () => {
  const { prompt_ids, greedy_ids, greedy_logprobs, prompt_logprobs } = readReference('stories260K').cases[1]!;
  const { tokenIds, inputLogprobs, outputLogprobs } = await engine.generate({
    inputIds: prompt_ids,
    samplingParams: { ...greedy, maxNewTokens: 24 },
    logprobs: { startLen: 0, topCount: 2, tokenIds: [5] },
  });
  assert.deepEqual(tokenIds, greedy_ids);
  assert.deepEqual(outputLogprobs!.ids, greedy_ids);
  outputLogprobs!.values.forEach((value, i) => {
    assert.ok(Math.abs(value! - greedy_logprobs[i]!) < 5e-4);
  });
  assert.equal(inputLogprobs!.values.length, prompt_logprobs.length);
  assert.equal(outputLogprobs!.top[0]!.length, 2);
  assert.equal(outputLogprobs!.watched[0]![0]![0], 5);
});

test('chat renders the template', async () => {
  const options = { ...greedy, maxNewTokens: 10 };
  const chat = await engine.chat({
    messages: [{ role: 'user', content: 'Once upon a time' }],
    samplingParams: options,
  });
  const inputIds = await engine.tokenizer!.encode('Once upon a time', false);
  const plain = await engine.generate({ inputIds, samplingParams: options });
  assert.equal(chat.text, plain.text);
});

test('stop strings end a request', async () => {
  const { text, finishReason } = await engine.generate({
    prompt: 'Once upon a time',
    samplingParams: { ...greedy, maxNewTokens: 100, stop: ['Lily'] },
  });
  assert.ok(!text.includes('Lily'));
  assert.deepEqual(finishReason, { type: 'stop', matched: 'Lily' });
});

test('a signal aborts, leaving the loop does, and the engine is free afterwards', async () => {
  const abort = new AbortController();
  const generation = engine.generate({
    prompt: 'Once',
    samplingParams: { ...greedy, maxNewTokens: 400 },
    signal: abort.signal,
  });
  let chunks = 0;
  for await (const { finishReason } of generation) {
    chunks += 1;
    if (chunks === 3) abort.abort();
    if (finishReason !== null) assert.equal(finishReason.type, 'abort');
  }
  assert.ok((await generation).completionTokens < 400);
  for await (const _ of engine.generate({ prompt: 'Once', samplingParams: { ...greedy, maxNewTokens: 400 } })) break;
  assert.equal((await engine.state()).runningRequests, 0);
  const already = engine.generate({ prompt: 'Once', signal: AbortSignal.abort(new Error('changed my mind')) });
  await assert.rejects(Promise.resolve(already), /changed my mind/);
});

test('many at once give what each gives alone', async () => {
  const prompts = ['Once upon', 'The dog', 'Lily', 'One day', 'A cat', 'Tom'];
  const ask = (prompt: string) => engine.generate({ prompt, samplingParams: { ...greedy, maxNewTokens: 30 } });
  const alone: string[] = [];
  for (const prompt of prompts) alone.push((await ask(prompt)).text);
  const together = await Promise.all(prompts.map((prompt) => Promise.resolve(ask(prompt))));
  assert.deepEqual(
    together.map(({ text }) => text),
    alone,
  );
});

test('mistakes are coded and name what was written', async () => {
  await rejects(engine.generate({ prompt: '' }), 'INVALID_REQUEST', /empty/);
  await rejects(engine.generate({ inputIds: [] }), 'INVALID_REQUEST', /empty/);
  await rejects(engine.generate({ inputIds: [100_000] }), 'INVALID_REQUEST', /100000/);
  await rejects(engine.generate({} as never), 'INVALID_REQUEST', /prompt/);
  await rejects(
    engine.generate({ prompt: 'x', samplingParams: { topP: 2 } }),
    'INVALID_REQUEST',
    /samplingParams\.topP/,
  );
  await rejects(
    engine.generate({ prompt: 'x', samplingParams: { maxTokens: 2 } as never }),
    'INVALID_REQUEST',
    /samplingParams\.maxTokens/,
  );
  await rejects(engine.generate({ prompt: 'x', samplingParams: { maxNewTokens: 9999 } }), 'REQUEST_TOO_LONG', /9999/);
  await rejects(engine.generate({ prompt: 'x', logprobs: { topCount: -1 } }), 'INVALID_REQUEST', /logprobs\.topCount/);
  await rejects(Engine.launch({ modelPath: '/no/such/folder' }), 'MODEL_NOT_FOUND', /no\/such\/folder/);
  await rejects(Engine.launch({ ...OPTIONS, pageSize: -1 }), 'INVALID_OPTION', /page-size/);
  const failing = engine.generate({ prompt: '' });
  await assert.rejects(async () => {
    for await (const _ of failing);
  }, /empty/);
});

test('state and cache', async () => {
  await engine.generate({
    prompt: 'Once upon a time there was a little girl',
    samplingParams: { ...greedy, maxNewTokens: 40 },
  });
  assert.ok((await engine.state()).cachedTokens > 0);
  assert.equal(await engine.flushCache(), true);
  assert.equal((await engine.state()).cachedTokens, 0);
  assert.ok(engine.info.maxTotalTokens > 0);
});

test('the quantization is told by the name that it was asked for by', async () => {
  assert.equal(engine.info.quantization, null);
  const other = await Engine.launch({ ...OPTIONS, quantization: 'fp8' });
  assert.equal(other.info.quantization, 'fp8');
  await other.close();
});

test('closing aborts what runs and refuses what comes', async () => {
  const other = await Engine.launch(OPTIONS);
  const running = other.generate({ prompt: 'Once', samplingParams: { ...greedy, maxNewTokens: 400 } });
  const iterator = running[Symbol.asyncIterator]();
  await iterator.next();
  await other.close();
  assert.equal((await running).finishReason.type, 'abort');
  await rejects(other.generate({ prompt: 'Once' }), 'SHUTTING_DOWN', /closed/);
  await other.close();
});

test('without a tokenizer there are only ids', async () => {
  const bare = await Engine.launch({ ...OPTIONS, skipTokenizerInit: true });
  try {
    assert.equal(bare.tokenizer, null);
    const { tokenIds, text } = await bare.generate({
      inputIds: [1, 2],
      samplingParams: { ...greedy, maxNewTokens: 3 },
    });
    assert.equal(tokenIds.length, 3);
    assert.equal(text, '');
    await rejects(bare.generate({ prompt: 'x' }), 'INVALID_REQUEST', /tokenizer/);
  } finally {
    await bare.close();
  }
});

// The whole server as a process: reference models over HTTP, the official client, bad input, overload, and its death.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import OpenAI from 'openai';
import { REFERENCE_MODELS, readReference } from '../reference/reference-files.js';
import { program, RunningServer, root, storiesModel } from '../support/running-server.js';

interface Reply {
  readonly text: string;
  readonly output_ids: number[];
  readonly meta_info: {
    readonly finish_reason: { readonly type: string; readonly message?: string };
    readonly completion_tokens: number;
    readonly cached_tokens: number;
    readonly output_token_logprobs: [number, number, string | null][];
    readonly input_token_logprobs: [number | null, number, string | null][];
  };
}

const greedy = (tokens: number) => ({ temperature: 0, max_new_tokens: tokens, ignore_eos: true });

describe('reference models over HTTP', { timeout: 120_000 }, () => {
  for (const name of REFERENCE_MODELS) {
    it(name, async () => {
      const server = await RunningServer.start([
        ...['--model-path', `${root}test/fixtures/models/${name}`],
        ...['--dtype', 'float32', '--chunked-prefill-size', '50'],
      ]);
      try {
        for (const { prompt_ids, prompt_logprobs, greedy_ids, greedy_logprobs } of readReference(name).cases) {
          const response = await server.post('/generate', {
            input_ids: prompt_ids,
            sampling_params: greedy(greedy_ids.length),
            return_logprob: true,
            logprob_start_len: 0,
          });
          const { output_ids, meta_info } = (await response.json()) as Reply;
          assert.deepEqual(output_ids, greedy_ids);
          meta_info.output_token_logprobs.forEach(([logprob], i) => {
            assert.ok(Math.abs(logprob - greedy_logprobs[i]!) < 5e-4);
          });
          assert.equal(meta_info.input_token_logprobs.length, prompt_ids.length);
          meta_info.input_token_logprobs.forEach(([logprob], i) => {
            const expected = prompt_logprobs[i];
            if (expected === null) assert.equal(logprob, null);
            else assert.ok(Math.abs(logprob! - expected!) < 5e-4, `prompt position ${i}`);
          });
        }
      } finally {
        assert.equal(await server.stop(), 0);
      }
    });
  }
});

describe('one server', { timeout: 120_000 }, () => {
  let server: RunningServer;
  before(async () => {
    server = await RunningServer.start([
      '--model-path',
      storiesModel,
      '--served-model-name',
      'stories',
      '--enable-metrics',
    ]);
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  const generate = async (body: object): Promise<Reply> =>
    (await server.post('/generate', body)).json() as Promise<Reply>;

  it('gives the same tokens in a burst as alone, with cached prefixes', async () => {
    const prompts = Array.from(
      { length: 24 },
      (_, i) =>
        `${['The cat', 'A big dog', 'One bird'][i % 3]} lived in a small house near the park and every day it went out to play. ${i}`,
    );
    const ask = (text: string) =>
      generate({ text, sampling_params: { temperature: 0.8, max_new_tokens: 40, sampling_seed: 7 } });
    const alone: string[] = [];
    for (const prompt of prompts) alone.push((await ask(prompt)).text);
    const together = await Promise.all(prompts.map(ask));
    assert.deepEqual(
      together.map(({ text }) => text),
      alone,
    );
    assert.ok(together.some(({ meta_info }) => meta_info.cached_tokens > 0));
  });

  it('serves the official OpenAI client', async () => {
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none' });
    assert.deepEqual(
      (await client.models.list()).data.map(({ id }) => id),
      ['stories'],
    );
    const request = { model: 'stories', prompt: 'Once upon a time', max_tokens: 24, temperature: 0 } as const;
    const whole = await client.completions.create(request);
    let streamed = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await client.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      streamed += chunk.choices[0]?.text ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.equal(streamed, whole.choices[0]!.text);
    assert.deepEqual([usage?.completion_tokens, usage?.prompt_tokens], [24, whole.usage!.prompt_tokens]);
    const messages = [{ role: 'user' as const, content: 'Once upon a time' }];
    const chat = await client.chat.completions.create({
      model: 'stories',
      messages,
      max_tokens: 8,
      temperature: 0,
      logprobs: true,
    });
    assert.equal(chat.choices[0]!.logprobs!.content!.length, 8);
    let said = '';
    for await (const chunk of await client.chat.completions.create({
      model: 'stories',
      messages,
      max_tokens: 8,
      temperature: 0,
      stream: true,
    })) {
      said += chunk.choices[0]?.delta.content ?? '';
    }
    assert.equal(said, chat.choices[0]!.message.content);
  });

  const bad: [what: string, body: unknown, pattern: RegExp][] = [
    ['malformed JSON', '{"text": ', /JSON/],
    ['a body that is no object', [1], /object/],
    ['no prompt', {}, /text/],
    ['two prompts', { text: 'a', input_ids: [1] }, /exactly one/i],
    ['an empty prompt', { text: '' }, /empty/],
    ['empty ids', { input_ids: [] }, /empty|input_ids/],
    ['an id outside the vocabulary', { input_ids: [1, 512] }, /512/],
    ['a wrong type', { text: 5 }, /text/],
    [
      'a huge max_new_tokens',
      { text: 'a', sampling_params: { max_new_tokens: 1e9 } },
      /1000000000.*512|512.*1000000000/s,
    ],
    ['a prompt longer than the context', { input_ids: Array(600).fill(5) }, /600.*512|512.*600/s],
    ['top_p out of range', { text: 'a', sampling_params: { top_p: 1.5 } }, /top_p/],
    ['a negative temperature', { text: 'a', sampling_params: { temperature: -1 } }, /temperature/],
    ['min over max', { text: 'a', sampling_params: { min_new_tokens: 9, max_new_tokens: 3 } }, /min_new_tokens/],
    ['a grammar', { text: 'a', sampling_params: { regex: 'a+' } }, /regex/],
  ];
  for (const [what, body, pattern] of bad) {
    it(`answers 400 to ${what}`, async () => {
      const response = await server.post('/generate', body);
      const text = await response.text();
      assert.equal(response.status, 400, text);
      assert.match(text, pattern);
    });
  }

  it('survives 200 clients of which half disconnect', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const abort = new AbortController();
        const body = { text: `Client ${i} says`, stream: true, sampling_params: { ...greedy(150), temperature: 1 } };
        try {
          const response = await server.post('/generate', body, { signal: abort.signal });
          if (i % 2 === 0) {
            await response.body!.getReader().read();
            abort.abort();
            return 'left';
          }
          const events = (await response.text()).trim().split('\n\n');
          assert.equal(events.at(-1), 'data: [DONE]');
          const last = JSON.parse(events.at(-2)!.slice(6)) as Reply;
          assert.equal(last.meta_info.completion_tokens, 150);
          return 'served';
        } catch (thrown) {
          if (abort.signal.aborted) return 'left';
          throw thrown;
        }
      }),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'served').length, 100);
    // Nothing of those who left stays behind: the cache can be flushed at once, or after their last step.
    let status = 0;
    for (let i = 0; i < 100 && status !== 200; i++) {
      status = (await server.post('/flush_cache', '')).status;
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(status, 200);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /sglang:num_running_reqs\{[^}]*\} 0/);
  });
});

describe('the end of a server', { timeout: 60_000 }, () => {
  const endless = { text: 'Once', sampling_params: { max_new_tokens: 500, ignore_eos: true } };

  it('finishes running requests on SIGTERM and exits with 0', async () => {
    const server = await RunningServer.start(['--model-path', storiesModel]);
    const response = await server.post('/generate', { ...endless, stream: true });
    const reader = response.body!.getReader();
    let text = new TextDecoder().decode((await reader.read()).value);
    server.child.kill('SIGTERM'); // it is running now
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += new TextDecoder().decode(part.value);
    }
    const events = text.trim().split('\n\n');
    assert.equal(events.at(-1), 'data: [DONE]');
    assert.equal((JSON.parse(events.at(-2)!.slice(6)) as Reply).meta_info.completion_tokens, 500);
    assert.equal(await server.exited, 0);
  });

  it('gives everyone a coded error when a step fails, and exits with 1', async () => {
    const server = await RunningServer.start(['--model-path', storiesModel], { VITRINE_FAIL_STEP: '60' });
    const replies = await Promise.all(Array.from({ length: 5 }, () => server.post('/generate', endless)));
    for (const response of replies) {
      assert.equal(response.status, 500);
      assert.match(await response.text(), /engine|ForwardBatch/i);
    }
    assert.equal(await server.exited, 1);
  });

  it('says which port is in use, and exits with 1', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    const server = RunningServer.spawn(['--model-path', storiesModel, '--port', String(port)]);
    assert.equal(await server.exited, 1);
    assert.match(server.log.join('\n'), new RegExp(`${port}`));
    holder.close();
  });

  const wrong: [what: string, flags: string[], code: number, pattern: RegExp][] = [
    ['an unknown flag', ['--model-path', storiesModel, '--page-sizes', '4'], 2, /--page-size/],
    ['an ambiguous prefix', ['--model-path', storiesModel, '--max', '4'], 2, /--max-running-requests/],
    ['a model folder without files', ['--model-path', `${root}src`], 1, /config\.json/],
    [
      'an unsupported architecture',
      ['--model-path', storiesModel, '--json-model-override-args', '{"architectures": ["GPT2LMHeadModel"]}'],
      1,
      /GPT2LMHeadModel.*LlamaForCausalLM/s,
    ],
  ];
  for (const [what, flags, code, pattern] of wrong) {
    it(`does not start with ${what}`, () => {
      const run = spawnSync(process.execPath, [program, 'launch-server', '--port', '0', ...flags], {
        encoding: 'utf8',
      });
      assert.equal(run.status, code, run.stderr);
      assert.match(run.stderr, pattern);
    });
  }
});

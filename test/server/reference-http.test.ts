// Every reference model over HTTP: what transformers computed comes out of the whole house.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launchServer } from '#vitrine/index.js';
import { modelDirectory, REFERENCE_MODELS, readReference } from '../reference/reference-files.js';
import { parseEvents, post } from '../support/http.js';

for (const name of REFERENCE_MODELS) {
  test(`${name} over HTTP`, async (t) => {
    const server = await launchServer({
      modelPath: modelDirectory(name),
      dtype: 'float32',
      port: 0,
      logLevel: 'silent',
      memFractionStatic: 0.02,
      maxRunningRequests: 32,
    });
    t.after(() => server.shutdown());
    const { cases, text_cases: textCases = [] } = readReference(name);
    const sampling_params = { temperature: 0, max_new_tokens: 24, ignore_eos: true };

    await t.test('greedy tokens and log-probabilities, all prompts at once', async () => {
      const { status, body } = await post(`${server.url}/generate`, {
        input_ids: cases.map(({ prompt_ids }) => prompt_ids),
        sampling_params,
        return_logprob: true,
        logprob_start_len: 0,
        top_logprobs_num: 5,
      });
      assert.equal(status, 200);
      cases.forEach((reference, i) => {
        const { output_ids, meta_info: meta } = body[i];
        assert.deepEqual(output_ids, reference.greedy_ids);
        const output = meta.output_token_logprobs.map(([logprob]: [number]) => logprob);
        close(output, reference.greedy_logprobs);
        const input = meta.input_token_logprobs.map(([logprob]: [number | null]) => logprob);
        close(input, reference.prompt_logprobs);
        assert.deepEqual(
          meta.output_top_logprobs[0].map(([, id]: [number, number]) => id),
          reference.top5.map(({ id }) => id),
        );
      });
    });

    await t.test('streamed, one at a time, and from the prefix cache', async () => {
      for (const { prompt_ids, greedy_ids } of cases) {
        const { text } = await post(`${server.url}/generate`, { input_ids: prompt_ids, sampling_params, stream: true });
        assert.deepEqual(parseEvents(text).at(-1).output_ids, greedy_ids);
      }
      const long = cases.find(({ prompt_len }) => prompt_len > 100)!;
      const { body } = await post(`${server.url}/generate`, { input_ids: long.prompt_ids, sampling_params });
      assert.ok(body.meta_info.cached_tokens > 0);
      assert.deepEqual(body.output_ids, long.greedy_ids);
    });

    await t.test('text', async () => {
      for (const { prompt, greedy_ids, greedy_text, full_text } of textCases) {
        const request = { text: prompt, sampling_params: { ...sampling_params, max_new_tokens: greedy_ids.length } };
        const { body } = await post(`${server.url}/generate`, request);
        assert.deepEqual(body.output_ids, greedy_ids);
        assert.equal(prompt + body.text, full_text);
        assert.equal(body.text.trimStart(), greedy_text.trimStart());
      }
    });
  });
}

function close(actual: readonly (number | null)[], expected: readonly (number | null)[]): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, i) => {
    const wanted = expected[i] ?? null;
    if (value === null || wanted === null) assert.equal(value, wanted, `position ${i}`);
    else assert.ok(Math.abs(value - wanted) < 5e-4, `position ${i}: ${value} is not ${wanted}`);
  });
}

// Every reference model through the real addon, against what transformers computed in float32.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { loadAddon } from '#vitrine/native/load.js';
import { REFERENCE_MODELS, type ReferenceCase, readReference } from '../reference/reference-files.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';

const LOGIT_TOLERANCE = 1e-3;
const LOGPROB_TOLERANCE = 5e-4;

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    assert.ok(difference <= tolerance, `${what}[${i}]: ${actual[i]} instead of ${expected[i]}`);
  }
}

async function checkCase(engine: TestEngine, reference: ReferenceCase): Promise<void> {
  const { prompt_ids: prompt, greedy_ids: greedy } = reference;
  const sequence = new TestSequence(3, engine.blocksFor(1, prompt.length + greedy.length));
  const rows = prompt.map((_, i) => [i, prompt[i + 1] ?? -1] as const);
  const flags = REQUEST_FLAG.returnLogprob | REQUEST_FLAG.returnLogits;
  const prefill = await engine.step([sequence.next(prompt, { rows, flags })], { sections: { topLogprobs: [5] } });
  const last = prompt.length - 1;

  assertClose(prefill.logits(last), reference.last_logits, LOGIT_TOLERANCE, 'logits');
  const logprobs = prefill.floats('rowLogprobs');
  assertClose(logprobs.subarray(0, last), reference.prompt_logprobs.slice(1) as number[], LOGPROB_TOLERANCE, 'prompt');
  const topIds = reference.top5.map(({ id }) => id);
  const topLogprobs = reference.top5.map(({ logprob }) => logprob);
  assert.deepEqual(prefill.row('topStart', 'topIds', last), topIds);
  assertClose(prefill.row('topStart', 'topLogprobs', last), topLogprobs, LOGPROB_TOLERANCE, 'top5');

  const tokens = [prefill.ints('sampledIds')[0]!];
  const tokenLogprobs = [logprobs[last]!];
  while (tokens.length < greedy.length) {
    const output = await engine.step([sequence.decode({ flags: REQUEST_FLAG.returnLogprob })]);
    tokens.push(output.ints('sampledIds')[0]!);
    tokenLogprobs.push(output.floats('rowLogprobs')[0]!);
  }
  assert.deepEqual(tokens, greedy);
  assertClose(tokenLogprobs, reference.greedy_logprobs, LOGPROB_TOLERANCE, 'greedy');
}

for (const cpuIsa of loadAddon().buildInfo().cpuIsas) {
  describe(`reference models, ${cpuIsa}`, () => {
    for (const name of REFERENCE_MODELS) {
      it(name, async () => {
        const engine = await TestEngine.load(name, { cpuIsa });
        try {
          for (const reference of readReference(name).cases) await checkCase(engine, reference);
        } finally {
          engine.close();
        }
      });
    }
  });
}

// What a step returns besides logits, and what a request slot remembers from one step to the next.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { readReference } from '../reference/reference-files.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';

const { returnLogprob, returnLogits, trackHistory, resetSlot } = REQUEST_FLAG;

/** log softmax in double. */
function logSoftmax(logits: Float32Array): number[] {
  const largest = Math.max(...logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  return Array.from(logits, (logit) => logit - largest - Math.log(total));
}

describe('slot state and outputs', () => {
  const prompt = readReference('tiny-llama-tied').cases[1]!.prompt_ids;
  let engine: TestEngine;
  before(async () => {
    engine = await TestEngine.load('tiny-llama-tied');
  });
  after(() => engine.close());

  const sequenceIn = (slot: number) => new TestSequence(slot, engine.blocksFor(slot, 48));

  it('returns nothing that was not asked for', async () => {
    const output = await engine.step([sequenceIn(0).next(prompt)], { stepId: 77 });
    assert.equal(output.header('stepId'), 77);
    assert.equal(output.header('numRequests'), 1);
    assert.equal(output.header('numLogitRows'), 1);
    assert.equal(output.header('vocabSize'), 512);
    assert.deepEqual([...output.floats('rowLogprobs')], [Number.NaN]);
    for (const name of ['topIds', 'topLogprobs', 'watchLogprobs', 'logits'] as const) {
      assert.equal(output.ints(name).length, 0, name);
    }
    for (const name of ['topStart', 'watchStart', 'logitStart'] as const) {
      assert.deepEqual([...output.ints(name)], [0, 0], name);
    }
    assert.ok(output.nanoseconds('start') > 0n && output.nanoseconds('end') > output.nanoseconds('start'));
    assert.ok(output.nanoseconds('end') <= process.hrtime.bigint());
  });

  it('samples nothing where a request has no sampling row', async () => {
    const output = await engine.step([
      sequenceIn(0).next(prompt, { rows: [] }),
      sequenceIn(1).next(prompt),
      sequenceIn(2).next(prompt, { rows: [[2, 7]], flags: returnLogprob }),
    ]);
    const sampled = output.ints('sampledIds');
    assert.equal(sampled[0], -1);
    assert.ok(sampled[1]! >= 0);
    assert.equal(sampled[2], -1);
    assert.ok(output.floats('rowLogprobs')[1]! < 0);
  });

  it('runs a step without any row', async () => {
    const sequence = sequenceIn(0);
    const first = await engine.step([sequence.next(prompt.slice(0, 4), { rows: [] })]);
    assert.deepEqual([...first.ints('sampledIds')], [-1]);
    const second = await engine.step([sequence.next(prompt.slice(4))]);
    const whole = await engine.step([sequenceIn(1).next(prompt)]);
    assert.deepEqual(second.ints('sampledIds'), whole.ints('sampledIds'));
  });

  it('log-probabilities of targets, top tokens and watched tokens belong to the raw row', async () => {
    const flags = returnLogprob | returnLogits;
    const rows = [[1, 400], [3, 3], [prompt.length - 1, -1]] as const; // biome-ignore format: a table
    const output = await engine.step(
      [sequenceIn(0).next(prompt), sequenceIn(1).next(prompt, { flags, rows }), sequenceIn(2).next(prompt)],
      {
        sections: {
          temperature: [0, 0.5, 0],
          topK: [-1, 1, -1],
          topLogprobs: [4, 4, 4],
          watchStart: [0, 1, 4, 4],
          watchIds: [5, 500, 0, 17],
          biasStart: [0, 0, 2, 2],
          biasIds: [400, 401],
          biasValues: [50, 60],
        },
      },
    );
    assert.equal(output.ints('sampledIds')[1], 401);
    const targets = [400, 3, 401];
    targets.forEach((target, i) => {
      const row = i + 1; // row 0 is of request 0
      const expected = logSoftmax(output.logits(row));
      const close = (actual: number, id: number) => assert.ok(Math.abs(actual - expected[id]!) < 1e-4, `token ${id}`);
      close(output.floats('rowLogprobs')[row]!, target);
      const top = expected.map((_, id) => id).sort((a, b) => expected[b]! - expected[a]! || a - b);
      assert.deepEqual(output.row('topStart', 'topIds', row), top.slice(0, 4));
      output.row('topStart', 'topLogprobs', row).forEach((logprob, k) => {
        close(logprob, top[k]!);
      });
      output.row('watchStart', 'watchLogprobs', row).forEach((logprob, k) => {
        close(logprob, [500, 0, 17][k]!);
      });
      assert.equal(output.row('watchStart', 'watchLogprobs', row).length, 3);
    });
    assert.ok(Number.isNaN(output.floats('rowLogprobs')[0]!), 'request 0 did not ask');
    assert.equal(output.row('topStart', 'topIds', 0).length, 0);
  });

  it('a token sampled in one step is known to the next before JavaScript has seen it', async () => {
    const plain = sequenceIn(0);
    const tokens: number[] = [];
    let next = (await engine.step([plain.next(prompt)])).ints('sampledIds')[0]!;
    for (let i = 0; i < 8; i++) {
      tokens.push(next);
      next = (await engine.step([plain.next([next])])).ints('sampledIds')[0]!;
    }
    const queued = sequenceIn(1);
    const outputs = [engine.step([queued.next(prompt)])];
    for (let i = 1; i < 8; i++) outputs.push(engine.step([queued.decode()]));
    const sampled = (await Promise.all(outputs)).map((output) => output.ints('sampledIds')[0]!);
    assert.deepEqual(sampled, tokens);
  });

  it('keeps, extends and resets the history that penalties look at', async () => {
    // A penalty that no logit survives: greedy never repeats a token of the history.
    const sections = { presencePenalty: [1e6] };
    const flags = trackHistory;
    const sequence = sequenceIn(4);
    const seen = [(await engine.step([sequence.next(prompt, { flags })], { sections })).ints('sampledIds')[0]!];
    for (let i = 0; i < 20; i++) {
      seen.push((await engine.step([sequence.decode({ flags })], { sections })).ints('sampledIds')[0]!);
    }
    assert.equal(new Set(seen).size, seen.length, 'a tracked token came again');

    const again = sequenceIn(4);
    const reset = await engine.step([again.next(prompt, { flags })], { sections });
    assert.equal(reset.ints('sampledIds')[0], seen[0], 'resetSlot forgets');

    const loaded = sequenceIn(4);
    const history = { ...sections, historyStart: [0, 1], historyIds: [seen[0]!] };
    const output = await engine.step([loaded.next(prompt, { flags: flags | resetSlot })], { sections: history });
    assert.notEqual(output.ints('sampledIds')[0], seen[0], 'historyIds are loaded');
    const untracked = (await engine.step([loaded.decode()], { sections })).ints('sampledIds')[0]!;
    const repeated = (await engine.step([loaded.decode({ flags })], { sections })).ints('sampledIds')[0]!;
    assert.ok(untracked >= 0 && repeated >= 0);
  });

  it('random sampling depends on seed and position alone', async () => {
    const draw = async (slot: number, seed: readonly number[], company: number): Promise<number> => {
      const others = Array.from({ length: company }, (_, i) => sequenceIn(10 + i).next(prompt.slice(0, 3)));
      const count = company + 1;
      const sections = {
        temperature: Array(count).fill(2),
        seeds: [...Array(2 * company).fill(9), ...seed],
      };
      const output = await engine.step([...others, sequenceIn(slot).next(prompt)], { sections });
      return output.ints('sampledIds')[company]!;
    };
    const tokens = new Set<number>();
    for (let seed = 0; seed < 12; seed++) {
      const token = await draw(0, [seed, 0], 0);
      assert.equal(await draw(3, [seed, 0], 2), token);
      tokens.add(token);
    }
    assert.ok(tokens.size > 3, `12 seeds gave only ${tokens.size} tokens`);
    const high = new Set<number>();
    for (let seed = 0; seed < 12; seed++) high.add(await draw(0, [0, seed], 0));
    assert.ok(high.size > 3, 'the high word of the seed counts');
  });
});

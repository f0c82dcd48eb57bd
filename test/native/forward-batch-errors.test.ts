// A broken ForwardBatch never crashes: the step reports what is wrong by section and index, and the engine is dead.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import { prepareReferenceModel } from '../reference/reference-files.js';
import { TestEngine } from '../support/native-engine.js';
import { type RawBatchOptions, type RawRequest, rawForwardBatch } from '../support/raw-forward-batch.js';

const GOOD: readonly RawRequest[] = [
  { slot: 0, tokens: [1, 2, 3], start: 0, blocks: [5] },
  { slot: 1, tokens: [7], start: 0, blocks: [6, 7], flags: 2 },
];
const BLOCK = { blockSize: 16 };

const CASES: readonly (readonly [what: string, options: Partial<RawBatchOptions>, message: RegExp])[] = [
  ['magic', { header: { magic: 1 } }, /magic: expected 826426966, got 1/],
  ['version', { header: { version: 9 } }, /version: expected 3, got 9/],
  ['length', { header: { totalWords: 12 } }, /totalWords: expected \d+ \(the buffer's length\), got 12/],
  ['tokens', { header: { numTokens: 5 } }, /tokenIds: expected 5 entries, got 4/],
  ['too many tokens', { header: { numTokens: 513 } }, /numTokens: expected 1 to 512, got 513/],
  ['no request', { header: { numRequests: 0 } }, /numRequests: expected 1 to 4, got 0/],
  ['rows', { header: { numLogitRows: 9 } }, /numLogitRows: expected 0 to 4, got 9/],
  ['profile', { header: { profile: 2 } }, /profile: expected 0 \(off\) or 1 \(record\), got 2/],
  ['block size', { header: { blockSize: 8 } }, /blockSize: expected 16, got 8/],
  ['token id', { sections: { tokenIds: [1, 512, 3, 7] } }, /tokenIds\[1\]: expected a token id below 512.*got 512/],
  ['slot reference', { sections: { tokenIds: [1, 2, 3, -41] } }, /tokenIds\[3\]: .*slot reference from -40, got -41/],
  ['silent slot', { sections: { tokenIds: [1, 2, 3, -5] } }, /tokenIds\[3\]: expected a slot in which.*got slot 4/],
  ['position', { sections: { positions: [0, 1, 1, 0] } }, /positions\[2\]: expected 2/],
  [
    'KV slot',
    { sections: { kvSlots: [80, 81, 82, 97] } },
    /kvSlots\[3\]: expected 96 \(from the block table\), got 97/,
  ],
  ['request slot', { sections: { reqSlots: [0, 40] } }, /reqSlots\[1\]: expected a slot below 40, got 40/],
  ['shared slot', { sections: { reqSlots: [3, 3] } }, /reqSlots\[1\]: expected a slot of its own, got 3/],
  ['query start', { sections: { queryStart: [0, 4, 4] } }, /queryStart\[2\]: expected a value from 5/],
  ['query end', { sections: { queryStart: [0, 1, 3] } }, /queryStart\[2\]: expected 4 \(the end\), got 3/],
  ['sequence too short', { sections: { seqLens: [2, 1] } }, /seqLens\[0\]: expected 3 .* to 256, got 2/],
  ['sequence too long', { sections: { seqLens: [3, 257] } }, /seqLens\[1\]: expected 1 .* to 256, got 257/],
  ['table too short', { sections: { seqLens: [3, 33] } }, /seqLens\[1\]: expected at most the 32 tokens/],
  ['flags', { sections: { reqFlags: [0, 1 << 20] } }, /reqFlags\[1\]: expected known flags only/],
  ['block start', { sections: { blockStart: [0, 9, 3] } }, /blockStart\[1\]: expected a value from 1 to 3, got 9/],
  ['block id', { sections: { blocks: [5, 256, 7] } }, /blocks\[1\]: expected a block below 256, got 256/],
  ['negative block', { sections: { blocks: [5, 6, -1] } }, /blocks\[2\]: expected a block below 256, got -1/],
  ['temperature', { sections: { temperature: [0, -1] } }, /temperature\[1\]: expected a number from 0, got -1/],
  ['temperature NaN', { sections: { temperature: [Number.NaN, 0] } }, /temperature\[0\]: .* got -?nan/],
  ['optional length', { sections: { topP: [1] } }, /topP: expected 2 entries or none, got 1/],
  ['top k', { sections: { topK: [0, -1] } }, /topK\[0\]: expected -1 or a positive count, got 0/],
  ['top p', { sections: { topP: [1, 0] } }, /topP\[1\]: expected a number in \(0, 1\], got 0/],
  ['min p', { sections: { minP: [0, 2] } }, /minP\[1\]: expected a number in \[0, 1\], got 2/],
  ['frequency', { sections: { frequencyPenalty: [0, Infinity] } }, /frequencyPenalty\[1\]: expected a finite number/],
  ['repetition', { sections: { repetitionPenalty: [0, 1] } }, /repetitionPenalty\[0\]: expected a positive number/],
  ['top logprobs', { sections: { topLogprobs: [0, 513] } }, /topLogprobs\[1\]: expected a count from 0/],
  ['seeds', { sections: { seeds: [1, 2] } }, /seeds: expected 4 entries or none, got 2/],
  ['bias id', { sections: { biasStart: [0, 1, 1], biasIds: [600], biasValues: [1] } }, /biasIds\[0\]: .* got 600/],
  ['bias value', { sections: { biasStart: [0, 1, 1], biasIds: [6], biasValues: [Infinity] } }, /biasValues\[0\]/],
  ['bias lengths', { sections: { biasStart: [0, 1, 1], biasIds: [6] } }, /biasValues: expected 1 entries, got 0/],
  ['ids without start', { sections: { watchIds: [6] } }, /watchIds: expected none without watchStart, got 1/],
  ['history id', { sections: { historyStart: [0, 1, 1], historyIds: [-1] } }, /historyIds\[0\]: .* got -1/],
  [
    'row order',
    { sections: { rowTokens: [2, 1], rowRequests: [0, 0], rowTargets: [5, -1] } },
    /rowTokens\[1\]: expected an ascending token index/,
  ],
  ['row twice', { sections: { rowTokens: [2, 2] } }, /rowTokens\[1\]/],
  ['row token', { sections: { rowTokens: [2, 4] } }, /rowTokens\[1\]: .* below 4, got 4/],
  ['row request', { sections: { rowRequests: [1, 1] } }, /rowRequests\[0\]: expected the request that holds token 2/],
  ['row target', { sections: { rowTargets: [-1, 512] } }, /rowTargets\[1\]: expected -1 or a token id below 512/],
  [
    'two sampling rows',
    { sections: { rowTokens: [1, 2], rowRequests: [0, 0] } },
    /rowTargets\[1\]: expected one sampling/,
  ],
];

async function assertDies(model: PreparedModel, buffer: ArrayBuffer, message: RegExp): Promise<void> {
  const engine = new TestEngine(model, { cpuThreads: 1 });
  try {
    const good = rawForwardBatch(GOOD, BLOCK);
    const steps = [engine.submit(good), engine.submit(buffer), engine.submit(good)];
    const [before, broken, after] = await Promise.allSettled(steps);
    assert.equal(before!.status, 'fulfilled');
    assert.ok(
      broken!.status === 'rejected' && message.test(broken!.reason.message),
      String((broken as { reason: unknown }).reason),
    );
    assert.ok(
      after!.status === 'rejected' &&
        /engine is dead/.test(after!.reason.message) &&
        message.test(after!.reason.message),
    );
    await assert.rejects(engine.submit(good), /the engine is dead since a step failed: ForwardBatch/);
  } finally {
    engine.close();
  }
}

describe('a broken ForwardBatch', async () => {
  const model = await prepareReferenceModel('tiny-llama-tied', { dtype: 'float32' });
  for (const [what, options, message] of CASES) {
    it(what, () => assertDies(model, rawForwardBatch(GOOD, { ...BLOCK, ...options }), message));
  }

  it('empty buffer', () => assertDies(model, new ArrayBuffer(0), /at least 96 words of header, got 0/));

  it('cut off', () => assertDies(model, rawForwardBatch(GOOD, BLOCK).slice(0, 400), /totalWords: expected 100 /));

  it('a directory that points anywhere', async () => {
    const random = (seed: number) => ((seed * 2654435761) ^ (seed << 13)) | 0;
    for (let section = 0; section < 28; section++) {
      const buffer = rawForwardBatch(GOOD, BLOCK);
      const words = new Int32Array(buffer);
      words[16 + 2 * section] = random(section + 1) | 0x40000000;
      words[17 + 2 * section] = 1;
      await assertDies(model, buffer, /expected a section inside the buffer's \d+ words/);
    }
  });

  it('any single changed word either runs or is reported', async () => {
    let reported = 0;
    const good = new Int32Array(rawForwardBatch(GOOD, BLOCK));
    let engine = new TestEngine(model, { cpuThreads: 1 });
    for (let at = 0; at < good.length; at++) {
      for (const value of [-1, 0x7fffffff, good[at]! + 1, -0x80000000]) {
        const words = good.slice();
        words[at] = value;
        const [result] = await Promise.allSettled([engine.submit(words.buffer as ArrayBuffer)]);
        if (result!.status === 'fulfilled') continue;
        assert.match(result!.reason.message, /^ForwardBatch/);
        reported += 1;
        engine.close();
        engine = new TestEngine(model, { cpuThreads: 1 });
      }
    }
    engine.close();
    assert.ok(reported > 200, `only ${reported} reported`);
  });
});

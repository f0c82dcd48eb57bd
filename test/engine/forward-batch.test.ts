// The encoder against the layout tables, read back by the decoder and by a reader that knows nothing of either.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferPool } from '#vitrine/engine/buffer-pool.js';
import { type ForwardBatch, type ForwardRequest, GREEDY, NO_BIAS } from '#vitrine/engine/forward-batch.js';
import {
  DIRECTORY_START,
  FORWARD_BATCH_SECTIONS,
  HEADER_WORDS,
  REQUEST_FLAG,
} from '#vitrine/engine/forward-batch-layout.js';
import { decodeForwardBatch, viewForwardBatch } from '#vitrine/engine/forward-batch-view.js';
import { encodeForwardBatch, ForwardBatchWriter } from '#vitrine/engine/forward-batch-writer.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { RandomChoices } from '../support/random-choices.js';
import { rawForwardBatch } from '../support/raw-forward-batch.js';

const request = (part: Partial<ForwardRequest> = {}): ForwardRequest => ({
  slot: 0,
  tokenIds: [5],
  firstPosition: 0,
  blocks: [0],
  flags: 0,
  sample: true,
  scored: [],
  scoredFrom: 0,
  sampling: GREEDY,
  bias: NO_BIAS,
  history: [],
  ...part,
});

const OPTIONAL = FORWARD_BATCH_SECTIONS.filter(({ optional }) => optional).map(({ name }) => name);

/** Directory and sections alone: buffers of the pool may be longer than their contents. */
function sections(buffer: ArrayBuffer): Record<string, number[]> {
  const view = viewForwardBatch(buffer);
  return Object.fromEntries(FORWARD_BATCH_SECTIONS.map(({ name }) => [name, [...view.ints(name)]]));
}

test('a batch of default sampling has no optional section and the words of the raw encoding', () => {
  const decode = request({ slot: 3, tokenIds: [-4], firstPosition: 17, blocks: [9, 2, 7, 7, 7], flags: 0 });
  const prefill = request({
    slot: 1,
    tokenIds: [5, 6, 7],
    firstPosition: 6,
    blocks: [4, 1],
    flags: REQUEST_FLAG.resetSlot,
  });
  const batch: ForwardBatch = { stepId: 12, mode: 'mixed', blockSize: 8, requests: [decode, prefill] };
  const expected = rawForwardBatch(
    [
      { slot: 3, tokens: [-4], start: 17, blocks: [9, 2, 7] },
      { slot: 1, tokens: [5, 6, 7], start: 6, blocks: [4, 1], flags: REQUEST_FLAG.resetSlot },
    ],
    { blockSize: 8, stepId: 12 },
  );
  const actual = encodeForwardBatch(batch);
  assert.deepEqual(sections(actual), sections(expected));
  for (const name of OPTIONAL) assert.equal(viewForwardBatch(actual).ints(name).length, 0, name);
  const words = new Int32Array(actual);
  assert.equal(words[2], words.length, 'totalWords is the length of the buffer');
  assert.deepEqual(
    [...words.subarray(3, 9)],
    [...new Int32Array(expected).subarray(3, 9)], // step, mode, counts, block size
  );
});

test('one request that differs brings its section for all', () => {
  const other = request({ sampling: { ...GREEDY, topK: 5, seed: 2 ** 40 + 2 ** 31 + 7, topP: 0.5 } });
  const view = viewForwardBatch(
    encodeForwardBatch({ stepId: 1, mode: 'decode', blockSize: 4, requests: [request(), other, request()] }),
  );
  assert.deepEqual([...view.ints('topK')], [-1, 5, -1]);
  assert.deepEqual([...view.floats('topP')], [1, 0.5, 1]);
  assert.deepEqual(
    [...view.ints('seeds')].map((word) => word >>> 0),
    [0, 0, 2 ** 31 + 7, 256, 0, 0],
  );
  for (const name of OPTIONAL.filter((name) => !['topK', 'topP', 'seeds'].includes(name))) {
    assert.equal(view.ints(name).length, 0, name);
  }
});

test('lists of some requests get offsets for all', () => {
  const view = viewForwardBatch(
    encodeForwardBatch({
      stepId: 1,
      mode: 'decode',
      blockSize: 4,
      requests: [
        request(),
        request({ bias: { ids: [3, 4], values: [Number.NEGATIVE_INFINITY, 0.5] }, history: [8] }),
        request(),
        request({ sampling: { ...GREEDY, watchIds: [1, 2, 3] }, bias: { ids: [9], values: [-2] } }),
      ],
    }),
  );
  assert.deepEqual([...view.ints('biasStart')], [0, 0, 2, 2, 3]);
  assert.deepEqual([...view.ints('biasIds')], [3, 4, 9]);
  assert.deepEqual([...view.floats('biasValues')], [Number.NEGATIVE_INFINITY, 0.5, -2]);
  assert.deepEqual([...view.ints('historyStart')], [0, 0, 1, 1, 1]);
  assert.deepEqual([...view.ints('watchStart')], [0, 0, 0, 0, 3]);
});

test('scored tokens and the sampling row are logit rows in ascending order', () => {
  const view = viewForwardBatch(
    encodeForwardBatch({
      stepId: 1,
      mode: 'extend',
      blockSize: 16,
      requests: [
        request({ tokenIds: [1, 2, 3], sample: false, scored: [3, 9], scoredFrom: 1 }),
        request({ tokenIds: [4, 5, 6], scored: [5], scoredFrom: 0 }),
      ],
    }),
  );
  assert.deepEqual([...view.ints('rowTokens')], [1, 2, 3, 5]);
  assert.deepEqual([...view.ints('rowRequests')], [0, 0, 1, 1]);
  assert.deepEqual([...view.ints('rowTargets')], [3, 9, 5, -1]);
});

function randomRequest(random: RandomChoices, blockSize: number): ForwardRequest {
  const count = random.integer(1, 150);
  const firstPosition = random.integer(0, 2000);
  const ids = (n: number) => Array.from({ length: n }, () => random.integer(0, 1000));
  const scoredFrom = random.integer(0, count - 1);
  const scored = random.chance(0.3) ? ids(random.integer(1, count - scoredFrom)) : [];
  const biasIds = random.chance(0.3) ? ids(random.integer(1, 4)) : [];
  return {
    slot: random.integer(0, 255),
    tokenIds: random.chance(0.5) ? ids(count) : Int32Array.from(ids(count)),
    firstPosition,
    blocks: ids(Math.ceil((firstPosition + count) / blockSize)),
    flags: random.integer(0, 15),
    sample: scoredFrom + scored.length < count && random.chance(0.7),
    scored,
    scoredFrom: scored.length === 0 ? 0 : scoredFrom,
    sampling: random.chance(0.4)
      ? GREEDY
      : {
          temperature: random.integer(0, 8) / 4,
          topK: random.pick([-1, 1, 40]),
          topP: random.pick([1, 0.5]),
          minP: random.pick([0, 0.25]),
          frequencyPenalty: random.pick([0, 0.5]),
          presencePenalty: random.pick([0, -0.5]),
          repetitionPenalty: random.pick([1, 1.5]),
          seed: random.pick([0, 5, 2 ** 32, 2 ** 53 - 1]),
          topLogprobs: random.integer(0, 3),
          watchIds: random.chance(0.5) ? ids(2) : [],
        },
    bias: biasIds.length === 0 ? NO_BIAS : { ids: biasIds, values: biasIds.map((id) => id / 8) },
    history: random.chance(0.3) ? ids(random.integer(1, 5)) : [],
  };
}

const plain = (batch: ForwardBatch): unknown =>
  JSON.parse(JSON.stringify(batch, (_, value) => (value instanceof Int32Array ? [...value] : value)));

test('decode gives back what was encoded, with buffers and a writer that are used again', () => {
  const random = new RandomChoices(7);
  const buffers = new BufferPool();
  const writer = new ForwardBatchWriter(16);
  for (let stepId = 1; stepId <= 200; stepId++) {
    const requests = Array.from({ length: random.integer(1, 20) }, () => randomRequest(random, 16));
    for (const part of requests) writer.add(part);
    const buffer = writer.finish(stepId, 'mixed', buffers);
    assert.deepEqual(plain(decodeForwardBatch(buffer)), plain({ stepId, mode: 'mixed', blockSize: 16, requests }));
    buffers.give(buffer);
  }
});

test('every section lies behind the header and they do not overlap', () => {
  const random = new RandomChoices(3);
  const requests = Array.from({ length: 9 }, () => randomRequest(random, 16));
  const words = new Int32Array(encodeForwardBatch({ stepId: 1, mode: 'mixed', blockSize: 16, requests }));
  let end = HEADER_WORDS;
  FORWARD_BATCH_SECTIONS.forEach(({ name }, i) => {
    assert.equal(words[DIRECTORY_START + 2 * i], end, name);
    end += words[DIRECTORY_START + 2 * i + 1]!;
  });
  assert.ok(end <= words.length);
});

test('another buffer is refused', () => {
  for (const buffer of [new ArrayBuffer(8), new ArrayBuffer(4 * HEADER_WORDS)]) {
    assert.throws(
      () => viewForwardBatch(buffer),
      (error) => error instanceof VitrineError && error.code === 'INTERNAL',
    );
  }
});

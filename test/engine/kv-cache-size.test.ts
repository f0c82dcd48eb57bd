import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkWeightsFit, kvCacheBlocks, requestSlots, type SizedMemory } from '#vitrine/engine/kv-cache-size.js';
import { VitrineError } from '#vitrine/util/errors.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const cpu = (availableMib: number, kvBytesPerToken = 1024) => sized('cpu', availableMib * MIB, 0, kvBytesPerToken);

function sized(
  device: 'cpu' | 'cuda',
  availableBytes: number,
  weightBytes: number,
  kvBytesPerToken: number,
): SizedMemory {
  const rest = { kvCacheBytes: 0, workspaceBytes: 0, residentBytes: 0, graphCount: 0, graphBytes: 0, graphSeconds: 0 };
  const now = { ...rest, weightBytes, kvBytesPerToken, availableBytes };
  return { device, atStart: availableBytes + weightBytes, now };
}

const options = { pageSize: 16, maxTotalTokens: undefined, memFractionStatic: 0.5, maxRunningRequests: 4 };

test('a share of the free memory, in whole pages', () => {
  assert.equal(kvCacheBlocks(options, 1_000_000, cpu(10)), (5 * MIB) / (16 * 1024));
  assert.equal(kvCacheBlocks({ ...options, pageSize: 17 }, 1_000_000, cpu(10)), Math.floor((5 * MIB) / (17 * 1024)));
});

test('twice the pages where a token takes half the bytes', () => {
  assert.equal(kvCacheBlocks(options, 1_000_000, cpu(10, 512)), 2 * kvCacheBlocks(options, 1_000_000, cpu(10, 1024)));
});

test('no more than all request slots with full contexts can use', () => {
  assert.equal(kvCacheBlocks(options, 100, cpu(10_000)), 4 * 7);
});

test('what was asked for, rounded down to pages', () => {
  assert.equal(kvCacheBlocks({ ...options, maxTotalTokens: 100 }, 1000, cpu(10)), 6);
});

test('positions stay 32-bit integers', () => {
  const blocks = kvCacheBlocks({ ...options, maxRunningRequests: 4096 }, 2 ** 24, cpu(2 ** 30, 1));
  assert.ok(blocks * 16 < 2 ** 31);
});

const refused =
  (code: string, ...words: RegExp[]) =>
  (error: unknown) =>
    error instanceof VitrineError && error.code === code && words.every((word) => word.test(error.message));

test('too little memory: the numbers and what to change', () => {
  assert.throws(
    () => kvCacheBlocks(options, 100_000, cpu(0.4)),
    refused('OUT_OF_MEMORY', /256 tokens need 0\.250 MiB/, /0\.400 MiB free/, /Raise --mem-fraction-static/),
  );
  assert.equal(kvCacheBlocks(options, 48, cpu(0.4)), 12, 'a short context needs little');
  assert.throws(
    () => kvCacheBlocks({ ...options, maxTotalTokens: 20_480 }, 1000, cpu(10)),
    refused('OUT_OF_MEMORY', /--max-total-tokens 20480 needs 20\.0 MiB/, /10\.0 MiB are free/),
  );
});

test('less than a page is an error of the option', () => {
  assert.throws(
    () => kvCacheBlocks({ ...options, maxTotalTokens: 15 }, 1000, cpu(10)),
    refused('INVALID_OPTION', /--max-total-tokens/, /one page of 16 tokens/, /got 15/),
  );
});

describe('on a GPU', () => {
  // Llama-3.1-8B in bfloat16 on 80 GiB: 15 GiB of weights, 128 KiB a token.
  const gpu = sized('cuda', 65 * GIB, 15 * GIB, 128 * 1024);
  const given = { pageSize: 16, maxTotalTokens: undefined, memFractionStatic: 0.875, maxRunningRequests: undefined };

  test('weights and KV cache take the share of what was free at start, whatever can be of use', () => {
    const tokens = ((0.875 * 80 - 15) * GIB) / (128 * 1024);
    assert.equal(kvCacheBlocks(given, 8192, gpu) * 16, tokens);
    assert.equal(kvCacheBlocks({ ...given, maxRunningRequests: 1 }, 100, gpu) * 16, tokens);
  });

  test('weights that leave no room: the numbers and what to change', () => {
    const low = { ...given, memFractionStatic: 0.15 };
    assert.throws(
      () => kvCacheBlocks(low, 8192, gpu),
      refused(
        'OUT_OF_MEMORY',
        /256 tokens need 32\.0 MiB/,
        /--mem-fraction-static 0\.15 of the 81920 MiB that the GPU had free is 12288 MiB/,
        /the weights \(15360 MiB\) leave 0\.00 MiB/,
        /Raise --mem-fraction-static/,
      ),
    );
    assert.throws(
      () => kvCacheBlocks({ ...given, maxTotalTokens: 500_000 }, 8192, gpu),
      refused('OUT_OF_MEMORY', /--max-total-tokens 500000 needs 62500 MiB/, /leave 56320 MiB/),
    );
    assert.equal(kvCacheBlocks({ ...given, maxTotalTokens: 400_000 }, 8192, gpu), 25_000);
  });

  test('request slots follow from the contexts that fit, as in SGLang', () => {
    const blocks = kvCacheBlocks(given, 8192, gpu);
    assert.equal(requestSlots(given, 8192, blocks, 'cuda'), 4096, '55 contexts');
    assert.equal(requestSlots(given, 131_072, blocks, 'cuda'), 2048, '3.4 contexts');
    assert.equal(requestSlots(given, 8192 * 10, blocks, 'cuda'), Math.trunc((450_560 / 81_920) * 512));
    assert.equal(requestSlots(given, 8192, 1000, 'cuda'), 1000, 'each needs a block');
    assert.equal(requestSlots({ ...given, maxRunningRequests: 7 }, 8192, blocks, 'cuda'), 7);
    assert.equal(requestSlots(given, 8192, blocks, 'cpu'), 256);
  });

  test('weights larger than the GPU are refused before they are read', () => {
    checkWeightsFit(GIB, GIB);
    assert.throws(
      () => checkWeightsFit(15 * GIB, 8 * GIB),
      refused('OUT_OF_MEMORY', /need 15360 MiB/, /only 8192 MiB of the GPU’s memory are free/, /--base-gpu-id/),
    );
  });
});

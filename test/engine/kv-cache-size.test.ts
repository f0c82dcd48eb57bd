import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kvCacheBlocks } from '#vitrine/engine/kv-cache-size.js';
import type { MemoryInfo } from '#vitrine/native/addon.js';
import { VitrineError } from '#vitrine/util/errors.js';

const MIB = 2 ** 20;
const memory = (availableMib: number, kvBytesPerToken = 1024): MemoryInfo => ({
  weightBytes: 0,
  kvCacheBytes: 0,
  workspaceBytes: 0,
  kvBytesPerToken,
  availableBytes: availableMib * MIB,
  residentBytes: 0,
  graphCount: 0,
  graphBytes: 0,
  graphSeconds: 0,
});
const options = { pageSize: 16, maxTotalTokens: undefined, memFractionStatic: 0.5, maxRunningRequests: 4 };

test('a share of the free memory, in whole pages', () => {
  assert.equal(kvCacheBlocks(options, 1_000_000, memory(10)), (5 * MIB) / (16 * 1024));
  assert.equal(kvCacheBlocks({ ...options, pageSize: 17 }, 1_000_000, memory(10)), Math.floor((5 * MIB) / (17 * 1024)));
});

test('no more than all request slots with full contexts can use', () => {
  assert.equal(kvCacheBlocks(options, 100, memory(10_000)), 4 * 7);
});

test('what was asked for, rounded down to pages', () => {
  assert.equal(kvCacheBlocks({ ...options, maxTotalTokens: 100 }, 1000, memory(10)), 6);
});

test('positions stay 32-bit integers', () => {
  const blocks = kvCacheBlocks({ ...options, maxRunningRequests: 4096 }, 2 ** 24, memory(2 ** 30, 1));
  assert.ok(blocks * 16 < 2 ** 31);
});

const refused =
  (code: string, ...words: RegExp[]) =>
  (error: unknown) =>
    error instanceof VitrineError && error.code === code && words.every((word) => word.test(error.message));

test('too little memory: the numbers and what to change', () => {
  assert.throws(
    () => kvCacheBlocks(options, 100_000, memory(0.4)),
    refused('OUT_OF_MEMORY', /256 tokens need 0\.250 MiB/, /0\.400 MiB free/, /Raise --mem-fraction-static/),
  );
  assert.equal(kvCacheBlocks(options, 48, memory(0.4)), 12, 'a short context needs little');
  assert.throws(
    () => kvCacheBlocks({ ...options, maxTotalTokens: 20_480 }, 1000, memory(10)),
    refused('OUT_OF_MEMORY', /--max-total-tokens 20480 needs 20\.0 MiB/, /10\.0 MiB are free/),
  );
});

test('less than a page is an error of the option', () => {
  assert.throws(
    () => kvCacheBlocks({ ...options, maxTotalTokens: 15 }, 1000, memory(10)),
    refused('INVALID_OPTION', /--max-total-tokens/, /one page of 16 tokens/, /got 15/),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cudaGraphConfig } from '#vitrine/engine/cuda-graph-sizes.js';
import type { DeviceInfo } from '#vitrine/native/addon.js';

const CPU: DeviceInfo = { kind: 'cpu', name: 'a processor', threads: 2, totalBytes: 2 ** 36 };
const gpu = (gib: number): DeviceInfo => ({
  ...{ kind: 'cuda', index: 0, name: 'a GPU', computeCapability: '9.0', multiprocessors: 132 },
  ...{ driverVersion: 13000, runtimeVersion: 13000, totalBytes: gib * 2 ** 30 },
});
const NONE = { disableCudaGraph: false, cudaGraphMaxBs: undefined, cudaGraphBs: undefined };

const sizes = (options: Partial<Parameters<typeof cudaGraphConfig>[0]>, device = gpu(79), maxRequests = 4096) =>
  cudaGraphConfig({ ...NONE, ...options }, device, maxRequests).batchSizes;

test('the sizes of SGLang, up to what the memory of the GPU is good for', () => {
  assert.deepEqual(sizes({}, gpu(15)), [1, 2, 4, 8]);
  assert.deepEqual(sizes({}, gpu(23)), [1, 2, 4, 8, 12, 16, 24]);
  assert.deepEqual(sizes({}, gpu(39)), [1, 2, 4, 8, 12, 16, 24, 32]);
  const hopper = sizes({}, gpu(79));
  assert.deepEqual(hopper.slice(0, 8), [1, 2, 4, 8, 12, 16, 24, 32]);
  assert.deepEqual(hopper.slice(-2), [248, 256]);
  assert.deepEqual(sizes({}, gpu(179)).slice(-3), [480, 496, 512]);
  assert.deepEqual(sizes({ cudaGraphMaxBs: 576 }).slice(-3), [512, 544, 576]);
});

test('the largest one is a size of its own, and none is larger than a step', () => {
  assert.deepEqual(sizes({ cudaGraphMaxBs: 10 }), [1, 2, 4, 8, 10]);
  assert.deepEqual(sizes({ cudaGraphMaxBs: 1 }), [1]);
  assert.deepEqual(sizes({}, gpu(79), 5), [1, 2, 4, 5]);
});

test('a list is taken in order, each size once', () => {
  assert.deepEqual(sizes({ cudaGraphBs: [8, 1, 3, 8] }), [1, 3, 8]);
  assert.deepEqual(sizes({ cudaGraphBs: [8, 1, 3], cudaGraphMaxBs: 8 }), [1, 3, 8]);
  assert.deepEqual(sizes({ cudaGraphBs: [1, 30, 40] }, gpu(79), 20), [1, 20]);
});

test('without graphs steps are padded to the same sizes', () => {
  const config = cudaGraphConfig({ ...NONE, disableCudaGraph: true, cudaGraphBs: [2, 4] }, gpu(79), 64);
  assert.deepEqual(config, { batchSizes: [2, 4], capture: false });
});

test('on the CPU there are none', () => {
  assert.deepEqual(cudaGraphConfig({ ...NONE, cudaGraphBs: [4] }, CPU, 64), { batchSizes: [], capture: false });
});

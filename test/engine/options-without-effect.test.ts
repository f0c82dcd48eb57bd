import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import { ModelRunner } from '#vitrine/engine/model-runner.js';
import { CUDA_LIBRARY_VARIABLE } from '#vitrine/native/cuda-library.js';
import { type Log, silentLog } from '#vitrine/util/log.js';
import { createFakeAddon } from '../support/fake-engine.js';
import { fakePreparedModel } from '../support/fake-prepared-model.js';
import { schedulerOptions } from '../support/scheduler-options.js';

const DEFAULT_STRETCH = 2; // what tests leave out otherwise

/** What the log warns of when a model starts with these options. */
function warnings(options: Partial<SchedulerOptions>): string[] {
  const told: string[] = [];
  const log = { ...silentLog, info: () => {}, warn: (text: string) => told.push(text) } as unknown as Log;
  const runner = ModelRunner.create({
    addon: createFakeAddon({ gpuBytes: 2 ** 36 }),
    model: fakePreparedModel(256),
    options: schedulerOptions({ device: 'cpu', mixedStepStretch: DEFAULT_STRETCH, ...options }),
    log,
  });
  runner.close();
  return told;
}

test('what is not given, or has an effect, is not spoken of', () => {
  assert.deepEqual(warnings({}), []);
  assert.deepEqual(warnings({ enableMixedChunk: false, chunkedPrefillSize: 0, disableRadixCache: true }), []);
  assert.deepEqual(warnings({ cpuIsa: 'avx2', cpuThreads: 1, schedulePolicy: 'lpm', mixedStepStretch: 3 }), []);
  assert.deepEqual(warnings({ chunkedPrefillSize: -1, maxPrefillTokens: 64 }), []);
});

test('options of a GPU, on the CPU', () => {
  assert.deepEqual(warnings({ baseGpuId: 1, cudaGraphMaxBs: 8, cudaGraphBs: [4, 8] }), [
    '--base-gpu-id 1 has no effect: the model runs on the CPU.',
    '--cuda-graph-max-bs 8 has no effect: the model runs on the CPU.',
    '--cuda-graph-bs 4 8 has no effect: the model runs on the CPU.',
  ]);
});

test('options of the CPU, on a GPU; its threads prepare the model there', (t) => {
  const library = process.env[CUDA_LIBRARY_VARIABLE];
  process.env[CUDA_LIBRARY_VARIABLE] = '/fake.so';
  t.after(() => {
    if (library === undefined) delete process.env[CUDA_LIBRARY_VARIABLE];
    else process.env[CUDA_LIBRARY_VARIABLE] = library;
  });
  assert.deepEqual(warnings({ device: 'cuda', cpuIsa: 'avx2', cpuThreads: 1, cudaGraphBs: [4] }), [
    '--cpu-isa (or VITRINE_CPU_ISA) avx2 has no effect: the model runs on a GPU.',
  ]);
});

test('options that others leave nothing to decide', () => {
  assert.deepEqual(warnings({ schedulePolicy: 'lpm', disableRadixCache: true }), [
    '--schedule-policy lpm has no effect: with --disable-radix-cache there are no cached prefixes to match; ' +
      'requests start in order of arrival.',
  ]);
  assert.deepEqual(warnings({ mixedStepStretch: 3, enableMixedChunk: false }), [
    '--mixed-step-stretch 3 has no effect: without --enable-mixed-chunk no step holds prefill chunks and decodes.',
  ]);
  assert.deepEqual(warnings({ mixedStepStretch: 3, chunkedPrefillSize: 0 }), [
    '--mixed-step-stretch 3 has no effect: --chunked-prefill-size 0 leaves prompts whole.',
  ]);
  assert.deepEqual(warnings({ maxPrefillTokens: 64, chunkedPrefillSize: 32 }), [
    '--max-prefill-tokens 64 has no effect: the prompt tokens of a step are limited by --chunked-prefill-size 32.',
  ]);
});

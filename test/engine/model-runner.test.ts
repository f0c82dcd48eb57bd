import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import { type ForwardBatch, GREEDY, NO_BIAS } from '#vitrine/engine/forward-batch.js';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { ModelRunner } from '#vitrine/engine/model-runner.js';
import type { StepOutput } from '#vitrine/engine/step-output.js';
import type { DType, KvCacheDType } from '#vitrine/native/addon.js';
import { CUDA_LIBRARY_VARIABLE } from '#vitrine/native/cuda-library.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { silentLog } from '#vitrine/util/log.js';
import { createFakeAddon, type FakeEngineOptions } from '../support/fake-engine.js';
import { expectedResult } from '../support/fake-model.js';
import { fakePreparedModel } from '../support/fake-prepared-model.js';
import { generateMessage } from '../support/scheduler-harness.js';
import { schedulerOptions } from '../support/scheduler-options.js';

function createRunner(engine: FakeEngineOptions = {}, options: Partial<SchedulerOptions> = {}): ModelRunner {
  return ModelRunner.create({
    addon: createFakeAddon(engine),
    model: fakePreparedModel(256),
    options: schedulerOptions(options),
    log: silentLog,
  });
}

const PROMPT = [5, 6, 7, 8, 9];

function step(stepId: number, tokenIds: readonly number[], firstPosition: number): ForwardBatch {
  return {
    stepId,
    mode: firstPosition === 0 ? 'extend' : 'decode',
    blockSize: 16,
    requests: [
      {
        slot: 0,
        tokenIds,
        firstPosition,
        blocks: [3],
        flags:
          REQUEST_FLAG.returnLogprob | REQUEST_FLAG.returnLogits | (firstPosition === 0 ? REQUEST_FLAG.resetSlot : 0),
        sample: true,
        scored: [],
        scoredFrom: 0,
        sampling: { ...GREEDY, topLogprobs: 2, watchIds: [4] },
        bias: NO_BIAS,
        history: [],
      },
    ],
  };
}

test('forward() runs steps one at a time; a decode may name the token last sampled', async () => {
  const runner = createRunner();
  const expected = expectedResult(generateMessage(PROMPT, { maxNewTokens: 3, ignoreEos: true })).tokenIds;
  const first = await runner.forward(step(1, PROMPT, 0));
  const second = await runner.forward(step(2, [first.sampledIds[0]!], 5));
  const third = await runner.forward(step(3, [-1], 6));
  assert.deepEqual(
    [first, second, third].map((output) => output.sampledIds[0]),
    expected,
  );
  assert.equal(third.stepId, 3);
  assert.ok(third.endNs >= third.startNs && third.startNs > 0n);
  assert.equal(third.top(0).length, 2);
  assert.equal(third.top(0)[0]![0], expected[2], 'the most likely token is the greedy one');
  assert.ok(Math.abs(third.top(0)[0]![1] - third.rowLogprobs[0]!) < 1e-6);
  assert.equal(third.watched(0).length, 1);
  assert.equal(third.logits(0).length, runner.limits.vocabSize);
  runner.close();
});

test('concurrent forward() calls each get their own output, and do not disturb the listener', async () => {
  const runner = createRunner();
  const heard: number[] = [];
  runner.onStep((_, output) => heard.push(output!.stepId));
  const outputs: Promise<StepOutput>[] = [runner.forward(step(1, PROMPT, 0)), runner.forward(step(2, [-1], 5))];
  runner.submit(step(3, [-1], 6));
  outputs.push(runner.forward(step(4, [-1], 7)));
  assert.deepEqual(
    (await Promise.all(outputs)).map((output) => output.stepId),
    [1, 2, 4],
  );
  assert.deepEqual(heard, [3]);
  runner.close();
});

test('a failed step is an ENGINE_FAILED error with the engine’s words, and so are all later ones', async () => {
  const runner = createRunner({ failAtStep: 2 });
  await runner.forward(step(1, PROMPT, 0));
  for (const stepId of [2, 3]) {
    await assert.rejects(
      runner.forward(step(stepId, [-1], 5)),
      (error) => error instanceof VitrineError && error.code === 'ENGINE_FAILED' && /told to fail/.test(error.message),
    );
  }
  runner.close();
});

test('close() is idempotent, rejects what was not done, and refuses more', async () => {
  const runner = createRunner({ hangAtStep: 1 });
  const hanging = runner.forward(step(1, PROMPT, 0));
  runner.close();
  runner.close();
  await assert.rejects(hanging, /closed before the step was done/);
  await assert.rejects(runner.forward(step(2, PROMPT, 0)), /engine is closed/);
});

test('limits follow from the options', () => {
  const runner = createRunner({}, { pageSize: 8, maxTotalTokens: 100, maxRunningRequests: 7, chunkedPrefillSize: 32 });
  const { numBlocks, blockSize, maxRequests, maxBatchTokens, contextLength, weightBytes, kvCacheBytes } = runner.limits;
  assert.deepEqual([numBlocks, blockSize, maxRequests, maxBatchTokens, contextLength], [12, 8, 7, 39, 256]);
  assert.ok(weightBytes > 0 && kvCacheBytes === 12 * 8 * 64);
  runner.close();
  const whole = createRunner(
    {},
    { chunkedPrefillSize: -1, maxPrefillTokens: 16, maxRunningRequests: 2, maxTotalTokens: 4096 },
  );
  assert.equal(whole.limits.maxBatchTokens, 258, 'the longest prompt fits in one step');
  whole.close();
});

test('an addon of another layout is refused before anything is loaded', () => {
  assert.throws(
    () => createRunner({ layoutVersion: 99 }),
    (error) => error instanceof VitrineError && error.code === 'NATIVE_UNAVAILABLE' && /layout 99/.test(error.message),
  );
});

describe('on a GPU', () => {
  const GIB = 2 ** 30;
  const gpu = { gpuBytes: 80 * GIB, availableBytes: 1_000_000, availableBytesLoaded: 900_000 };
  const library = process.env[CUDA_LIBRARY_VARIABLE];
  before(() => {
    process.env[CUDA_LIBRARY_VARIABLE] = '/fake.so';
  });
  after(() => {
    if (library === undefined) delete process.env[CUDA_LIBRARY_VARIABLE];
    else process.env[CUDA_LIBRARY_VARIABLE] = library;
  });

  test('limits follow from its memory', () => {
    const runner = createRunner(gpu, { device: 'cuda' });
    const { chunkedPrefillSize, memFractionStatic } = runner.options;
    assert.deepEqual([chunkedPrefillSize, memFractionStatic], [8192, 0.836]);
    const blocks = Math.floor((900_000 - 1_000_000 * (1 - 0.836)) / (16 * 64));
    const { numBlocks, maxRequests, maxBatchTokens } = runner.limits;
    assert.deepEqual([numBlocks, maxRequests, maxBatchTokens], [blocks, blocks, 8192 + blocks]);
    runner.close();
  });

  test('what does not fit says which options to lower', () => {
    const outOfMemory = 'initCache: out of memory (no room for 5 bytes)';
    assert.throws(
      () => createRunner({ ...gpu, outOfMemory }, { device: 'cuda', maxRunningRequests: 9 }),
      (error) => {
        assert(error instanceof VitrineError && error.code === 'OUT_OF_MEMORY');
        assert.equal(
          error.message,
          `${outOfMemory}. Lower --mem-fraction-static (0.836 now), --chunked-prefill-size (8192 now), ` +
            '--max-running-requests (9 now) or --cuda-graph-max-bs.',
        );
        return true;
      },
    );
  });

  test('a KV cache of 16 bits that is not the model’s own dtype is refused', () => {
    const model = fakePreparedModel(256);
    const create = (dtype: DType, cached: KvCacheDType) => {
      const spec = { ...model.spec, dtype, kvCache: { dtype: cached, scales: [] } };
      const options = schedulerOptions({ device: 'cuda' });
      return ModelRunner.create({ addon: createFakeAddon(gpu), options, log: silentLog, model: { ...model, spec } });
    };
    assert.throws(
      () => create('float16', 'bfloat16'),
      (error) =>
        error instanceof VitrineError &&
        error.code === 'INVALID_OPTION' &&
        error.param === '--kv-cache-dtype' &&
        /^--kv-cache-dtype bfloat16: on a GPU a model in float16 keeps its KV cache in float16 \(auto\) or in fp8_e4m3/.test(
          error.message,
        ),
    );
    create('bfloat16', 'bfloat16').close();
    create('float16', 'float8_e4m3fn').close();
  });

  test('an instruction set that the processor lacks is refused by its option', () => {
    assert.throws(() => createRunner({}, { cpuIsa: 'amx_bf16' }), {
      code: 'INVALID_OPTION',
      message: /^--cpu-isa: expected auto, .*, which this processor and its system can run, got 'amx_bf16'$/,
    });
  });

  test('weights that cannot fit are refused before they are loaded', () => {
    const model = fakePreparedModel(256);
    const parameters = [{ name: 'embed_tokens', rows: 1000, cols: 1000, pieces: [] }];
    const loadPlan = { ...model.loadPlan, parameters };
    const deps = { addon: createFakeAddon(gpu), options: schedulerOptions({ device: 'cuda' }), log: silentLog };
    assert.throws(() => ModelRunner.create({ ...deps, model: { ...model, loadPlan } }), /The weights need 3\.81 MiB/);
  });
});

test('an engine that cannot get its memory is closed', () => {
  assert.throws(() => createRunner({ availableBytes: 1000 }), /--mem-fraction-static/);
});

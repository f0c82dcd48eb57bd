// The engine from construction to its end, in all the ways it can end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel, readReference } from '../reference/reference-files.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';

const model = await prepareReferenceModel('tiny-llama3-rope', { dtype: 'float32' });
const CACHE = { numBlocks: 16, blockSize: 16, maxRequests: 2, maxBatchTokens: 256, maxContextLength: 256 };
const CONFIG = { device: 'cpu', spec: model.spec, cpuThreads: 1, cpuIsa: 'auto' } as const;

const SCENARIOS = fileURLToPath(new URL('../support/engine-scenarios.ts', import.meta.url));

/** Standard output of a scenario. `exits`: it calls process.exit, where Node itself leaves memory to a leak checker. */
async function scenario(name: string, exits = false): Promise<string> {
  const { ASAN_OPTIONS = '', ...environment } = process.env;
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', SCENARIOS, name], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment, ASAN_OPTIONS: exits ? `${ASAN_OPTIONS}:detect_leaks=0` : ASAN_OPTIONS },
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...end) => resolve(end)),
  );
  clearTimeout(timer);
  assert.equal(code, 0, `exit ${code}, ${signal}: ${errors}`);
  return output;
}

describe('engine life cycle', () => {
  it('demands weights before cache before steps, each once', () => {
    const engine = new (loadAddon().Engine)(CONFIG, () => {});
    assert.throws(() => engine.initCache(CACHE), /^Error: initCache: call loadWeights first$/);
    assert.throws(() => engine.submit(new ArrayBuffer(0)), /^Error: submit: call loadWeights and initCache first$/);
    engine.loadWeights(model.loadPlan);
    assert.throws(() => engine.loadWeights(model.loadPlan), /loaded already/);
    assert.throws(() => engine.submit(new ArrayBuffer(0)), /call loadWeights and initCache first/);
    engine.initCache(CACHE);
    assert.throws(() => engine.initCache(CACHE), /the cache is there already/);
    engine.close();
  });

  it('counts its memory', () => {
    const engine = new (loadAddon().Engine)(CONFIG, () => {});
    assert.equal(engine.memoryInfo().weightBytes, 0);
    engine.loadWeights(model.loadPlan);
    engine.initCache(CACHE);
    const memory = engine.memoryInfo();
    const { numKvHeads, headDim, layers } = model.spec;
    assert.equal(memory.kvBytesPerToken, 2 * 4 * numKvHeads * headDim * layers.length);
    assert.ok(memory.kvCacheBytes >= memory.kvBytesPerToken * CACHE.numBlocks * CACHE.blockSize);
    const elements = model.loadPlan.parameters.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
    assert.ok(memory.weightBytes >= 4 * elements && memory.weightBytes < 8 * elements, `${memory.weightBytes} bytes`);
    assert.ok(memory.workspaceBytes > CACHE.maxBatchTokens * model.spec.hiddenSize * 4);
    assert.ok(memory.availableBytes > 1 << 20 && memory.residentBytes > 1 << 20);
    engine.close();
  });

  it('needs half the bytes a token of 16 bits for one of 8, a quarter of 32', async () => {
    const bytesPerToken = async (kvCacheDtype: 'auto' | 'bf16' | 'fp8_e4m3') => {
      const { spec, loadPlan } = await prepareReferenceModel('tiny-llama3-rope', { dtype: 'float32', kvCacheDtype });
      const engine = new (loadAddon().Engine)({ ...CONFIG, spec }, () => {});
      try {
        engine.loadWeights(loadPlan);
        engine.initCache(CACHE);
        const { kvBytesPerToken, kvCacheBytes } = engine.memoryInfo();
        assert.ok(kvCacheBytes < kvBytesPerToken * CACHE.numBlocks * CACHE.blockSize + 4096, `${kvCacheBytes} bytes`);
        return kvBytesPerToken;
      } finally {
        engine.close();
      }
    };
    const narrow = await bytesPerToken('fp8_e4m3');
    assert.equal(await bytesPerToken('bf16'), 2 * narrow);
    assert.equal(await bytesPerToken('auto'), 4 * narrow);
  });

  it('refuses a cache that cannot fit, and can then make a smaller one', () => {
    const engine = new (loadAddon().Engine)(CONFIG, () => {});
    engine.loadWeights(model.loadPlan);
    const numBlocks = (2 ** 31 - 16) / 16;
    assert.throws(() => engine.initCache({ ...CACHE, numBlocks }), {
      code: 'OUT_OF_MEMORY',
      message: /only [\d.]+ MiB are free/,
    });
    assert.throws(() => engine.initCache({ ...CACHE, numBlocks: 2 ** 31 - 1 }), /expected at most 2147483647 tokens/);
    engine.initCache(CACHE);
    engine.close();
  });

  it('close waits for the running step, drops the queued ones, and can be repeated', async () => {
    let calls = 0;
    const engine = new (loadAddon().Engine)(CONFIG, () => {
      calls += 1;
    });
    engine.loadWeights(model.loadPlan);
    engine.initCache(CACHE);
    for (let i = 0; i < 20; i++) engine.submit(new ArrayBuffer(0));
    engine.close();
    engine.close();
    const atClose = calls;
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(calls, atClose, 'onStep was called after close');
    assert.throws(() => engine.submit(new ArrayBuffer(0)), /^Error: submit: the engine is closed$/);
    assert.throws(() => engine.memoryInfo(), /the engine is closed/);
    assert.throws(() => engine.loadWeights(model.loadPlan), /the engine is closed/);
    assert.throws(() => engine.initCache(CACHE), /the engine is closed/);
  });

  it('can be closed from onStep', async () => {
    const closed = new Promise<void>((resolve, reject) => {
      const engine = new (loadAddon().Engine)(CONFIG, () => {
        try {
          engine.close();
          resolve();
        } catch (error) {
          reject(error);
        }
      });
      engine.loadWeights(model.loadPlan);
      engine.initCache(CACHE);
      engine.submit(new ArrayBuffer(0));
      engine.submit(new ArrayBuffer(0));
    });
    await closed;
  });

  it('copies the batch: JavaScript may reuse or detach the buffer', async () => {
    const { prompt_ids: prompt, greedy_ids: greedy } = readReference('tiny-llama3-rope').cases[2]!;
    const engine = new TestEngine(model);
    const { rawForwardBatch } = await import('../support/raw-forward-batch.js');
    const request = new TestSequence(0, engine.blocksFor(0, prompt.length)).next(prompt);
    const buffer = rawForwardBatch([request], { blockSize: engine.blockSize });
    const step = engine.submit(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    assert.equal((await step).ints('sampledIds')[0], greedy[0]);
    assert.throws(() => engine.engine.submit(new ArrayBuffer(6)), /expected whole 32-bit words, got 6 bytes/);
    assert.throws(() => engine.engine.submit(new Int32Array(4) as never), /expected an ArrayBuffer/);
    engine.close();
  });

  it('many engines run in one process', async () => {
    const { prompt_ids: prompt, greedy_ids: greedy } = readReference('tiny-llama3-rope').cases[2]!;
    const engines = Array.from({ length: 5 }, (_, i) => new TestEngine(model, { cpuThreads: 1 + (i % 2) }));
    const results = await Promise.all(
      engines.map(async (engine) => {
        const sequence = new TestSequence(0, engine.blocksFor(0, prompt.length + 8));
        const steps = [engine.step([sequence.next(prompt, { flags: REQUEST_FLAG.returnLogits })])];
        for (let i = 1; i < 8; i++) steps.push(engine.step([sequence.decode()]));
        return (await Promise.all(steps)).map((output) => output.ints('sampledIds')[0]);
      }),
    );
    for (const tokens of results) assert.deepEqual(tokens, greedy.slice(0, 8));
    for (const engine of engines) engine.close();
  });

  it('an idle engine lets the process end', async () => assert.equal(await scenario('idle'), ''));
  it('a running step keeps the process until its result is delivered', async () =>
    assert.equal(await scenario('pending'), 'delivered\n'));
  it('process.exit while a step runs', async () => assert.equal(await scenario('exit', true), ''));
  it('process.exit while two engines run', async () => assert.equal(await scenario('exit-while-two-run', true), ''));
  it('is freed by garbage collection', async () => assert.equal(await scenario('collected'), 'collected\n'));
  it('an error thrown by onStep is an uncaught exception', async () =>
    assert.equal(await scenario('throwing-listener', true), 'uncaught: from onStep\n'));
  it('runs in worker threads, and ends with a terminated one', async () =>
    assert.equal(await scenario('workers'), 'terminated\n'));
});

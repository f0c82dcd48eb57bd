// The share of a limit, and limits that are measured once.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { machineLimits, refuseRooflineOf } from '#vitrine/bench/roofline/machine-limits.js';
import { readWorkCounters, renderPhaseWork, workBetween } from '#vitrine/bench/roofline/phase-work.js';
import { describeRoofline, rooflineOf } from '#vitrine/bench/roofline/roofline.js';
import { loadAddon } from '#vitrine/native/load.js';

const LIMITS = {
  threads: 2,
  readBytesPerSecond: 50e9,
  float32FlopsPerSecond: 500e9,
  bfloat16FlopsPerSecond: 1000e9,
};

describe('roofline', () => {
  test('the slower of reading and computing is the bound', () => {
    // 1 GB at 50 GB/s is 20 ms, 1 GFLOP at 500 GFLOP/s is 2 ms.
    const decode = rooflineOf({ bytes: 1e9, flops: 1e9, float8Flops: 0 }, 0.04, LIMITS, 'float32');
    assert.deepEqual(decode, { share: 0.5, bound: 'memory', rate: 25e9, limit: 50e9 });
    assert.equal(describeRoofline(decode), '50 % of the memory limit (25.0 of 50.0 GB/s)');
    const prefill = rooflineOf({ bytes: 1e9, flops: 200e9, float8Flops: 0 }, 0.8, LIMITS, 'float32');
    assert.deepEqual(prefill, { share: 0.5, bound: 'compute', rate: 250e9, limit: 500e9 });
    assert.equal(describeRoofline(prefill), '50 % of the compute limit (250 of 500 GFLOP/s)');
  });

  test('bfloat16 has a limit of its own where the CPU multiplies it', () => {
    const work = { bytes: 0, flops: 100e9, float8Flops: 0 };
    assert.equal(rooflineOf(work, 1, LIMITS, 'bfloat16').limit, 1000e9);
    assert.equal(rooflineOf(work, 1, LIMITS, 'float16').limit, 500e9);
    assert.equal(rooflineOf(work, 1, { ...LIMITS, bfloat16FlopsPerSecond: 0 }, 'bfloat16').limit, 500e9);
  });

  test('float8 is multiplied as float32, also in a model of bfloat16', () => {
    const work = { bytes: 0, flops: 100e9, float8Flops: 100e9 };
    assert.equal(rooflineOf(work, 1, LIMITS, 'bfloat16').limit, 500e9);
    // 50 GFLOP at 500 GFLOP/s and 100 at 1000: 0.2 s.
    const mixed = rooflineOf({ bytes: 0, flops: 150e9, float8Flops: 50e9 }, 0.4, LIMITS, 'bfloat16');
    assert.deepEqual(mixed, { share: 0.5, bound: 'compute', rate: 375e9, limit: 750e9 });
  });
});

describe('machine limits', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vitrine-limits-'));
  after(() => rmSync(directory, { recursive: true }));
  let measured = 0;
  let cpuIsas = ['avx2', 'avx512_bf16'];
  const lines: string[] = [];
  const ask = (threads: number, measureAgain = false, cache = directory) =>
    machineLimits({
      addon: {
        buildInfo: () => ({ ...loadAddon().buildInfo(), cpuIsas }),
        machineLimits: (_seconds, count = 0) => {
          measured += 1;
          return { ...LIMITS, threads: count };
        },
      },
      output: { print: (line) => lines.push(line), warn: (line) => lines.push(line) },
      environment: { XDG_CACHE_HOME: cache },
      threads,
      measureAgain,
    });

  test('are measured once for each number of threads, or again when asked', async () => {
    const first = await ask(2);
    assert.equal(measured, 1);
    assert.deepEqual(await ask(2), first);
    assert.equal(measured, 1);
    assert.equal((await ask(1)).threads, 1);
    assert.equal(measured, 2);
    assert.deepEqual(await ask(2), first);
    await ask(2, true);
    assert.equal(measured, 3);
  });

  test('and anew where the processor, or its system, offers other instructions', async () => {
    const before = measured;
    cpuIsas = ['avx2', 'avx512_bf16', 'amx_bf16'];
    await ask(2);
    await ask(2);
    assert.equal(measured, before + 1);
  });

  test('are those of processors: a model on a GPU is refused', () => {
    for (const device of ['cpu', 'auto']) refuseRooflineOf(device);
    assert.throws(() => refuseRooflineOf('cuda'), { code: 'INVALID_OPTION', param: '--roofline' });
  });

  test('a damaged or unwritable file is no hindrance', async () => {
    const file = join(directory, 'vitrine', 'machine-limits.json');
    writeFileSync(file, '{');
    await ask(2);
    assert.ok(readFileSync(file, 'utf8').includes('measuredAt'));
    lines.length = 0;
    await ask(2, false, file);
    assert.match(lines.join('\n'), /The limits cannot be kept in .*machine-limits\.json/);
  });
});

describe('the work of a server', () => {
  const none = { steps: 0, seconds: 0, flops: 0, float8Flops: 0, bytes: 0 };
  const info = (decode: object) => ({
    dtype: 'float32',
    internal_states: [{ step_work: { extend: none, decode: { ...none, ...decode }, mixed: none } }],
  });
  const before = readWorkCounters(info({ steps: 2, seconds: 1, flops: 1e9, bytes: 5e9 }))!;
  const after = readWorkCounters(info({ steps: 12, seconds: 3, flops: 3e9, bytes: 55e9 }))!;

  test('is what its steps did between two readings, by kind', () => {
    const work = workBetween(before, after, LIMITS);
    assert.deepEqual(Object.keys(work), ['decode']);
    const { roofline, ...decode } = work.decode!;
    assert.deepEqual(decode, { steps: 10, seconds: 2, bytes_per_second: 25e9, flops_per_second: 1e9 });
    assert.equal(roofline!.share, 0.5);
    assert.deepEqual(renderPhaseWork(work), [
      'Decode steps: 10 in 2.00 s, 50 % of the memory limit (25.0 of 50.0 GB/s)',
    ]);
  });

  test('float8 has the limit of float32', () => {
    const ofFloat8 = { steps: 3, seconds: 2, flops: 600e9, float8Flops: 599e9, bytes: 5e9 };
    const counted = (decode: object) => readWorkCounters({ ...info(decode), dtype: 'bfloat16' })!;
    const { roofline } = workBetween(
      counted({ steps: 2, seconds: 1, flops: 1e9, bytes: 5e9 }),
      counted(ofFloat8),
      LIMITS,
    ).decode!;
    assert.equal(roofline!.limit, 500e9);
  });

  test('has rates and no shares where the limits are not known', () => {
    const work = workBetween(before, after, undefined);
    assert.equal(work.decode!.roofline, null);
    assert.deepEqual(renderPhaseWork(work), ['Decode steps: 10 in 2.00 s, 25.0 GB/s, 1.00 GFLOP/s']);
  });

  test('is not there for servers that do not count', () => {
    for (const foreign of [
      null,
      {},
      { internal_states: [] },
      { dtype: 'float32', internal_states: [{ step_work: {} }] },
    ]) {
      assert.equal(readWorkCounters(foreign), undefined);
    }
    assert.equal(readWorkCounters({ ...info({}), dtype: 'int8' }), undefined);
  });
});

// The judgement of gpu-check over reports that were made up: no GPU is needed for it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeDevice } from '../../scripts/gpu/device-trace.mjs';
import { copyRate, judge } from '../../scripts/gpu/targets.mjs';

const limits = { limit_gbps: 3000, limit_gflops: 700_000 };
const attention = (shape: string, medianUs: number, gbps: number, gflops = 0) => ({
  ...{ op: `bfloat16 attention bfloat16 h32/8 d128 b16 ${shape}`, median_us: medianUs, gbps, gflops },
  ...limits,
});

describe('targets of gpu-check', () => {
  it('decode attention counts where its bytes outlast a launch, prefill where it is the long prompt', () => {
    const cases = [
      attention('r1 q1 s1024', 3, 1400), // 4 MiB
      attention('r32 q1 s16384', 800, 2684),
      attention('r64 q1 s32768', 4000, 2148),
      attention('r1 q4096 s4096', 500, 100, 300_000),
      attention('r1 q16384 s16384', 5000, 27, 455_000),
      { ...attention('r32 q1 s16384', 800, 1000), op: 'float16 attention float16 h32/8 d128 b16 r32 q1 s16384' },
      { ...limits, op: 'bfloat16 linear bfloat16 m1 n4096 k4096', median_us: 12, gbps: 2900, gflops: 1 },
    ];
    assert.deepEqual(
      judge({ cases }).map(({ name, measured, target, met }) => [name.replace(/.* b16 /, ''), measured, target, met]),
      [
        ['r32 q1 s16384: share of the copy bandwidth', 0.8947, 0.85, true],
        ['r64 q1 s32768: share of the copy bandwidth', 0.716, 0.85, false],
        ['r1 q16384 s16384: share of cuBLAS’ rate', 0.65, 0.6, true],
      ],
    );
    assert.equal(copyRate(cases), 3e12);
    const withoutLibrary = judge({ cases: [{ ...attention('r1 q16384 s16384', 5000, 27, 455_000), limit_gflops: 0 }] });
    assert.deepEqual(
      withoutLibrary.map(({ name, measured, met }) => [name.replace(/.* b16 /, ''), measured, met]),
      [['r1 q16384 s16384: cublasLt was not found', null, false]],
      'what cannot be judged is not passed over',
    );
  });

  it('a decode step is set beside the time that its bytes take to copy', () => {
    const row = { batch_size: 1, input_len: 1024, output_len: 64, decodeBytes: 15e9 };
    const steps = [
      { ...row, median_decode_latency: 0.0055 },
      { ...row, batch_size: 32, decodeBytes: 19.5e9, median_decode_latency: 0.01, quantization: 'fp8' },
      { ...row, batch_size: 64 }, // no decode step
    ];
    const judged = judge({ cases: [attention('r32 q1 s16384', 800, 2684)], steps });
    assert.deepEqual(
      judged.slice(1).map(({ measured, met }) => [measured, met]),
      [
        [0.9091, true],
        [0.65, false],
      ],
    );
    assert.match(judged[1]!.name, /^decode step, batch 1,/);
    assert.match(judged[2]!.name, /^decode step in fp8, batch 32,/);
    assert.deepEqual(judge({ steps }), [], 'without a measured limit there is no share');
  });

  it('the GPU idles less than 20 µs between steps', () => {
    const idle = (p50Us: number) => judge({ serving: { device: { idleBetweenSteps: { p50Us } } } });
    assert.deepEqual([idle(19.9)[0]?.met, idle(20)[0]?.met], [true, false]);
    assert.deepEqual(judge({ serving: { device: null } }), []);
    assert.deepEqual(judge({}), []);
  });
});

describe('the GPU in a trace', () => {
  /** Two steps of six kernels of 10 µs with 1 µs between and a copy of the results; 15 µs between the steps. */
  function events() {
    const found: Record<string, unknown>[] = [];
    for (let step = 0; step < 2; step++) {
      const begin = step * 82;
      for (let i = 0; i < 6; i++) {
        const correlation = step * 6 + i;
        const ts = begin + i * 11;
        found.push({ ph: 'X', cat: 'cuda_runtime', name: 'cudaLaunchKernel', ts, dur: 1, args: { correlation } });
        const name = i === 5 ? 'sample_kernel' : 'gemm_kernel';
        const args = { correlation, stream: 7, module: 'model.layers.0' };
        found.push({ ph: 'X', cat: 'kernel', name, ts: ts + 2, dur: 10, args });
      }
      const copy = { cat: 'gpu_memcpy', name: 'Memcpy DtoH (Device -> Pinned)', args: { stream: 7 } };
      found.push({ ph: 'X', ...copy, ts: begin + 68, dur: 1 });
    }
    return found;
  }
  const kernelsOf = (all: Record<string, unknown>[]) => all.filter(({ cat }) => cat === 'kernel');

  it('is counted and found right', () => {
    assert.deepEqual(describeDevice(events(), 2), { problems: [], kernels: 12, copies: 2, named: 12 });
  });

  it('is found wrong: kernels that are missing, without names, without launches, or one over another', () => {
    assert.deepEqual(describeDevice([], 2), {
      ...{ kernels: 0, copies: 0, named: 0 },
      problems: ['0 kernels in 2 steps'],
    });
    const nameless = events();
    for (const { args } of kernelsOf(nameless).slice(0, 3)) delete (args as { module?: string }).module;
    assert.deepEqual(describeDevice(nameless, 2).problems, ['9 of 12 kernels carry the name of a layer']);
    const unlaunched = events().filter(({ cat, ts }) => cat === 'kernel' || ts !== 0);
    assert.deepEqual(describeDevice(unlaunched, 2).problems, ['1 kernels without the call that launched them']);
    const overlapping = events();
    kernelsOf(overlapping)[0]!.dur = 12;
    assert.match(describeDevice(overlapping, 2).problems.join(), /^1 kernels or copies begin before/);
  });
});

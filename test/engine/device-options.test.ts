import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { automaticMemFraction, gpuDefaults, withDeviceOptions } from '#vitrine/engine/device-options.js';
import type { CudaDeviceInfo } from '#vitrine/native/addon.js';
import { schedulerOptions } from '../support/scheduler-options.js';

const MIB = 2 ** 20;
const gpu = (totalMib: number): CudaDeviceInfo => ({
  ...{ kind: 'cuda', index: 0, name: 'GPU', computeCapability: '9.0', multiprocessors: 132 },
  ...{ driverVersion: 13000, runtimeVersion: 13000, totalBytes: totalMib * MIB },
});

describe('options that depend on the device', () => {
  it('are SGLang’s by the memory of the GPU', () => {
    // T4, RTX 4090, L40S, H100, H200, B200
    const sizes = [15_360, 24_564, 46_068, 81_559, 143_771, 183_359];
    assert.deepEqual(
      sizes.map((mib) => gpuDefaults(mib * MIB).chunkedPrefillSize),
      [2048, 2048, 4096, 8192, 8192, 16384],
    );
    assert.deepEqual(
      sizes.map((mib) => gpuDefaults(mib * MIB).cudaGraphMaxBs),
      [8, 24, 32, 256, 256, 512],
    );
    assert.deepEqual(
      sizes.map((mib) => withDeviceOptions(schedulerOptions(), gpu(mib)).memFractionStatic),
      [
        0.757, // 512 + 3072 + 16 + 128 = 3728 MiB
        0.847, // 512 + 3072 + 48 + 128 = 3760 MiB
        0.851, // 512 + 6144 + 64 + 128 = 6848 MiB
        0.835, // 512 + 12288 + 512 + 128 = 13440 MiB
        0.907,
        0.857, // 512 + 24576 + 1024 + 128 = 26240 MiB
      ],
    );
  });

  it('a large GPU keeps 10 GiB back at least, a hopeless one has the least share', () => {
    assert.equal(automaticMemFraction(81_559 * MIB, 2048, 8), 0.874);
    assert.equal(automaticMemFraction(4096 * MIB, 8192, 256), 0.01);
  });

  it('what is given stays, and the share follows from the chunks that are given', () => {
    const given = withDeviceOptions(
      schedulerOptions({ chunkedPrefillSize: 2048, memFractionStatic: 0.5 }),
      gpu(81_559),
    );
    assert.deepEqual([given.chunkedPrefillSize, given.memFractionStatic], [2048, 0.5]);
    const small = withDeviceOptions(schedulerOptions({ chunkedPrefillSize: 4096 }), gpu(46_068));
    const large = withDeviceOptions(schedulerOptions({ chunkedPrefillSize: 8192 }), gpu(46_068));
    assert.ok(small.memFractionStatic > large.memFractionStatic);
    const graphs = (given: object) => withDeviceOptions(schedulerOptions(given), gpu(46_068)).memFractionStatic;
    assert.ok(graphs({ cudaGraphMaxBs: 1024 }) < graphs({}), 'graphs take memory');
    assert.equal(graphs({ cudaGraphBs: [1, 1024] }), graphs({ cudaGraphMaxBs: 1024 }));
    const whole = schedulerOptions({ chunkedPrefillSize: -1, maxPrefillTokens: 8192 });
    assert.equal(withDeviceOptions(whole, gpu(46_068)).memFractionStatic, large.memFractionStatic);
  });

  it('on the CPU they do not depend on its size', () => {
    const cpu = { kind: 'cpu', name: 'CPU', threads: 1, totalBytes: 2 ** 40 } as const;
    const options = withDeviceOptions(schedulerOptions(), cpu);
    assert.deepEqual([options.chunkedPrefillSize, options.memFractionStatic], [2048, 0.3]);
  });
});

// The CUDA library on any machine: how it is found, every refusal, what it exports and needs, and that no kernel spills.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { NativeAddon } from '#vitrine/native/addon.js';
import { chooseDevice } from '#vitrine/native/choose-device.js';
import { findCudaLibrary } from '#vitrine/native/cuda-library.js';
import { loadAddon } from '#vitrine/native/load.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { type Log, silentLog } from '#vitrine/util/log.js';
import { prepareReferenceModel } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const addon = loadAddon();
const built = join(root, 'build/cuda/libvitrine_cuda.so');
const notBuilt = existsSync(built)
  ? false
  : 'build/cuda/libvitrine_cuda.so is not there: npm run build:cuda (needs nvcc)';
const hasDriver = existsSync('/proc/driver/nvidia/version');

/** Compiles test/support/fake-cuda-library.c, which answers as the macros say. */
async function fakeLibrary(test: TestContext, macros: Readonly<Record<string, string>> = {}): Promise<string> {
  const path = join(await temporaryDirectory(test), 'libfake.so');
  const defines = Object.entries(macros).map(([name, value]) => `-D${name}=${value}`);
  const source = join(root, 'test/support/fake-cuda-library.c');
  execFileSync('c++', [
    '-x',
    'c++',
    '-std=c++20',
    '-shared',
    '-fPIC',
    `-I${root}native`,
    ...defines,
    source,
    '-o',
    path,
  ]);
  return path;
}

describe('finding the CUDA library', () => {
  const nowhere = () => {
    throw new Error('Cannot find module');
  };
  const file = fileURLToPath(import.meta.url);

  it('takes the environment’s, then the local build, then the package’s', () => {
    const resolvePackage = () => '/package.so';
    const environment = { VITRINE_CUDA_LIBRARY: '/named.so' };
    assert.equal(findCudaLibrary({ environment, localBuild: file, resolvePackage }), '/named.so');
    assert.equal(
      findCudaLibrary({ environment: { VITRINE_CUDA_LIBRARY: '' }, localBuild: file, resolvePackage }),
      file,
    );
    assert.equal(findCudaLibrary({ environment: {}, localBuild: '/none.so', resolvePackage }), '/package.so');
  });

  it('says what is missing when there is none', () => {
    assert.throws(
      () => findCudaLibrary({ environment: {}, localBuild: '/none.so', resolvePackage: nowhere }),
      (error) => {
        assert(error instanceof VitrineError && error.code === 'DEVICE_UNAVAILABLE');
        assert.match(error.message, /^the package vitrine-cuda-linux-x64 is not installed.*VITRINE_CUDA_LIBRARY/);
        return true;
      },
    );
  });

  it('the package has the version, the name and the library that vitrine looks for', () => {
    const read = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8')) as Record<string, unknown>;
    const { name, main, version } = read('packages/cuda-linux-x64/package.json');
    assert.deepEqual({ name, main }, { name: 'vitrine-cuda-linux-x64', main: 'libvitrine_cuda.so' });
    assert.equal(version, read('package.json').version);
  });
});

describe('loading the CUDA library', () => {
  const refusal = (library: string): string => {
    try {
      addon.cudaDevices(library);
    } catch (error) {
      const { message } = error as Error;
      assert.doesNotMatch(message, /\n/, 'one line');
      return message;
    }
    return assert.fail('expected a refusal');
  };

  it('refuses a missing file, a file that is no library and a library that is another', async (t) => {
    const directory = await temporaryDirectory(t);
    const missing = join(directory, 'missing.so');
    assert.equal(refusal(missing), `the CUDA library ${missing} does not exist`);
    const text = join(directory, 'text.so');
    writeFileSync(text, 'not a library');
    assert.match(refusal(text), /^the CUDA library .*text\.so cannot be loaded: .*(invalid ELF header|file too short)/);
    const other = await fakeLibrary(t, { FAKE_SYMBOL: 'something_else' });
    assert.match(refusal(other), /is not the CUDA library of Vitrine: it has no function vitrine_cuda_api/);
    assert.throws(() => addon.cudaDevices(5 as unknown as string), /library: expected a string, got 5/);
  });

  it('refuses another version of the interface', async (t) => {
    const { cudaAbiVersion } = addon.buildInfo();
    const message = refusal(await fakeLibrary(t, { FAKE_VERSION: '4711' }));
    assert.match(message, new RegExp(`speaks version 4711 of the interface, this addon ${cudaAbiVersion}: install`));
    assert.match(refusal(await fakeLibrary(t, { FAKE_BYTES: '16' })), /install the CUDA package of the same version/);
  });

  it('passes on what the library says of driver and devices', async (t) => {
    assert.equal(refusal(await fakeLibrary(t, { FAKE_STATUS: 'VITRINE_CUDA_NO_DRIVER' })), 'the fake says no');
    assert.equal(refusal(await fakeLibrary(t, { FAKE_DEVICE_STATUS: 'VITRINE_CUDA_NO_DEVICE' })), 'the fake says no');
    assert.deepEqual(addon.cudaDevices(await fakeLibrary(t)), [
      {
        ...{ kind: 'cuda', index: 0, name: 'Fake GPU', computeCapability: '9.0', multiprocessors: 132 },
        ...{ driverVersion: 13000, runtimeVersion: 12040, totalBytes: 2 ** 36 },
      },
    ]);
  });

  it('an engine whose context cannot be opened says why', async (t) => {
    const { spec } = await prepareReferenceModel('tiny-llama-tied', { dtype: 'float32' });
    const config = { device: 'cuda', cudaDevice: 0, spec, cpuThreads: 1, cpuIsa: 'auto' } as const;
    const cudaLibrary = await fakeLibrary(t);
    assert.throws(() => new addon.Engine({ ...config, cudaLibrary }, () => {}), /^Error: the fake says no$/);
    assert.throws(() => new addon.Engine(config, () => {}), /config\.cudaLibrary: expected a string, got undefined/);
    assert.throws(
      () => new addon.Engine({ ...config, cudaLibrary, cudaDevice: -1 }, () => {}),
      /config\.cudaDevice: expected .*, got -1/,
    );
  });
});

describe('choosing the device', () => {
  const recorded = () => {
    const lines: string[] = [];
    return { lines, log: { ...silentLog, info: (line: string) => lines.push(line) } as unknown as Log };
  };
  const withGpu: NativeAddon = Object.create(addon, {
    cudaDevices: {
      value: () => [
        { kind: 'cuda', index: 0, name: 'Fake GPU' },
        { kind: 'cuda', index: 2, name: 'Third GPU' }, // the second cannot be used
      ],
    },
  });
  const findLibrary = () => '/library.so';

  it('cpu never looks for a GPU', () => {
    const find = () => assert.fail('looked for the library');
    const { info } = chooseDevice({ addon: withGpu, device: 'cpu', baseGpuId: 0, log: silentLog, findLibrary: find });
    assert.equal(info.kind, 'cpu');
  });

  it('auto and cuda take the GPU that was asked for, the first by default', () => {
    for (const device of ['auto', 'cuda'] as const) {
      const { info, cudaLibrary } = chooseDevice({ addon: withGpu, device, baseGpuId: 0, log: silentLog, findLibrary });
      assert.deepEqual([info.name, cudaLibrary], ['Fake GPU', '/library.so']);
    }
  });

  it('a GPU is chosen by its number, and one that is not there is refused, also by auto', () => {
    const choice = { addon: withGpu, log: silentLog, findLibrary } as const;
    assert.equal(chooseDevice({ ...choice, device: 'cuda', baseGpuId: 2 }).info.name, 'Third GPU');
    for (const device of ['auto', 'cuda'] as const) {
      assert.throws(
        () => chooseDevice({ ...choice, device, baseGpuId: 1 }),
        (error) => {
          assert(error instanceof VitrineError);
          assert.deepEqual([error.code, error.param], ['DEVICE_UNAVAILABLE', '--base-gpu-id']);
          assert.match(error.message, /^--base-gpu-id 1: .*expected one of 0 \(Fake GPU\), 2 \(Third GPU\)$/);
          return true;
        },
      );
    }
  });

  it('without one, auto logs one line and takes the CPU, cuda is refused with the same reason', () => {
    const { lines, log } = recorded();
    const { info } = chooseDevice({ addon, device: 'auto', baseGpuId: 0, log, findLibrary });
    assert.equal(info.kind, 'cpu');
    assert.deepEqual(lines, ['Running on the CPU: the CUDA library /library.so does not exist']);
    assert.throws(
      () => chooseDevice({ addon, device: 'cuda', baseGpuId: 0, log, findLibrary }),
      (error) => {
        assert(error instanceof VitrineError);
        assert.deepEqual([error.code, error.param], ['DEVICE_UNAVAILABLE', '--device']);
        assert.equal(error.message, '--device cuda: the CUDA library /library.so does not exist');
        return true;
      },
    );
  });
});

describe('the built library', { skip: notBuilt }, () => {
  it('finds the GPU, or says that there is no driver', () => {
    if (hasDriver) {
      assert(addon.cudaDevices(built).length > 0);
    } else {
      assert.throws(
        () => addon.cudaDevices(built),
        /^Error: this machine has no NVIDIA driver \(libcuda\.so\.1 cannot be loaded\)$/,
      );
    }
  });

  it('exports one function', () => {
    const { stdout, status } = spawnSync('nm', ['-D', '--defined-only', '--format=posix', built], { encoding: 'utf8' });
    assert.equal(status, 0);
    assert.deepEqual(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0]),
      ['vitrine_cuda_api'],
    );
  });

  it('is linked with no library of NVIDIA’s', () => {
    const { stdout, status } = spawnSync('readelf', ['-d', built], { encoding: 'utf8' });
    assert.equal(status, 0);
    const needed = [...stdout.matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name!);
    assert(needed.length > 0);
    for (const name of needed) assert.match(name, /^(lib(stdc\+\+|gcc_s|c|m|dl|rt|pthread)|ld-linux-x86-64)\.so\.\d+$/);
  });

  /** What ptxas said of each source. */
  const ptxasLogs = (): [source: string, log: string][] => {
    const folder = join(root, 'build/cuda/cmake/CMakeFiles/vitrine_cuda.dir/native/backend/cuda');
    const sources = readdirSync(join(root, 'native/backend/cuda')).filter((name) => name.endsWith('.cu'));
    assert(sources.length > 0);
    return sources.map((source) => [source, readFileSync(join(folder, `${source}.o.ptxas`), 'utf8')]);
  };

  it('no kernel spills registers or keeps arrays in local memory, on any architecture', () => {
    for (const [source, log] of ptxasLogs()) {
      const kernels = [
        ...log.matchAll(/entry function '(\S+)' for '(\S+)'\n.*\n\s+(\d+) bytes stack frame, (\d+) bytes spill/g),
      ];
      assert.equal(
        kernels.length,
        log.match(/Compiling entry function/g)?.length,
        `${source}: its log was not understood`,
      );
      const architectures = new Set(kernels.map(([, , arch]) => arch));
      assert.deepEqual([...architectures].sort(), ['sm_80', 'sm_90a'], source);
      for (const [, name, arch, stack, spilled] of kernels) {
        assert.deepEqual([stack, spilled], ['0', '0'], `${source}, ${arch}: ${name}`);
      }
    }
  });

  it('wgmma and setmaxnreg are compiled as they are written: none serialised, none ignored, no wait added', () => {
    for (const [source, log] of ptxasLogs()) {
      assert.deepEqual(log.match(/^ptxas .*\(C75\d\d\).*$/gm), null, source);
    }
  });

  it('the attention kernel of Hopper is a trap elsewhere, and starts with the registers that its warps share out', () => {
    const log = new Map(ptxasLogs()).get('attention_hopper.cu') ?? '';
    const kernels = [...log.matchAll(/entry function '(\S+)' for '(\S+)'\n.*\n.*\n.*Used (\d+) registers/g)].map(
      ([, , arch, registers]) => [arch, Number(registers)] as const,
    );
    assert.equal(kernels.length, 2 * 6);
    for (const [arch, registers] of kernels) {
      // 3 warpgroups; the launcher takes a kernel of more than 32 registers for a real one.
      assert(arch === 'sm_90a' ? registers === 168 : registers <= 32, `${arch}: ${registers} registers`);
    }
  });
});

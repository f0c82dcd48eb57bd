// Builds the addon with CMake (through cmake-js) and, if asked, the native tests. Builds only what has changed.
//   node scripts/build-native.cjs [--tests] [--sanitizer address|undefined|thread] [--build-type Release|Debug|...]
//   node scripts/build-native.cjs --emulate-bf16 [--tests]
//   node scripts/build-native.cjs --cuda
// or VITRINE_TESTS=1, VITRINE_SANITIZER, VITRINE_BUILD_TYPE in the environment. Results:
//   plain                build/Release/vitrine.node (the only .node there); build/tests: native_tests, kernel_bench,
//                        trace_bench and nvtx_log_tool.so, a tool for NVTX_INJECTION64_PATH
//   --cuda               build/cuda/libvitrine_cuda.so, the GPU kernels, and nothing else; needs nvcc, no GPU
//   --emulate-bf16       build/bf16: the AVX512-BF16 and AMX kernels for processors that have AVX-512 alone, to test them
//   anything else        build/asan, build/ubsan, build/tsan or build/<type>: native_tests, build/Release/vitrine.node
// To run with such an addon: VITRINE_PREBUILD=$PWD/build/asan, and LD_PRELOAD=$(gcc -print-file-name=libasan.so).
const { spawnSync } = require('node:child_process');
const { accessSync, constants, existsSync, readFileSync, rmSync } = require('node:fs');
const { availableParallelism, freemem } = require('node:os');
const { delimiter, dirname, join } = require('node:path');
const { parseArgs } = require('node:util');

const root = dirname(__dirname);
const BYTES_PER_COMPILER = 1024 ** 3;
const SANITIZER_FOLDERS = { address: 'asan', undefined: 'ubsan', thread: 'tsan' };

function fail(message) {
  console.error(`build-native: ${message}`);
  process.exit(1);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        tests: { type: 'boolean', default: !['', '0', undefined].includes(process.env.VITRINE_TESTS) },
        sanitizer: { type: 'string', default: process.env.VITRINE_SANITIZER ?? '' },
        'emulate-bf16': { type: 'boolean', default: false },
        cuda: { type: 'boolean', default: false },
        'build-type': { type: 'string', default: process.env.VITRINE_BUILD_TYPE || 'Release' },
      },
    }));
  } catch (error) {
    fail(error.message);
  }
  const sanitizer = values.sanitizer;
  const buildType = values['build-type'];
  if (sanitizer !== '' && !Object.hasOwn(SANITIZER_FOLDERS, sanitizer)) {
    fail(`--sanitizer: expected ${Object.keys(SANITIZER_FOLDERS).join(', ')}, got '${sanitizer}'`);
  }
  if (!['Release', 'Debug', 'RelWithDebInfo', 'MinSizeRel'].includes(buildType)) {
    fail(`--build-type: expected Release, Debug, RelWithDebInfo or MinSizeRel, got '${buildType}'`);
  }
  const emulateBf16 = values['emulate-bf16'];
  for (const flag of ['cuda', 'emulate-bf16']) {
    if (values[flag] && (sanitizer !== '' || buildType !== 'Release' || (values.cuda && emulateBf16))) {
      fail(`--${flag}: expected no --sanitizer, no --build-type and no other kind of build beside it`);
    }
  }
  return { tests: values.tests, sanitizer, buildType, cuda: values.cuda, emulateBf16 };
}

function folders({ sanitizer, buildType, cuda, emulateBf16 }) {
  if (cuda) {
    return { cmake: join(root, 'build/cuda/cmake'), addon: join(root, 'build/cuda'), tests: join(root, 'build/cuda') };
  }
  if (sanitizer === '' && buildType === 'Release' && !emulateBf16) {
    return { cmake: join(root, 'build/cmake'), addon: join(root, 'build/Release'), tests: join(root, 'build/tests') };
  }
  const kind = emulateBf16 ? 'bf16' : (SANITIZER_FOLDERS[sanitizer] ?? buildType.toLowerCase());
  const folder = join(root, 'build', kind);
  return { cmake: join(folder, 'cmake'), addon: join(folder, 'build/Release'), tests: folder };
}

function findProgram(names) {
  const paths = (process.env.PATH ?? '').split(delimiter);
  return names.find((name) =>
    (name.includes('/') ? [''] : paths).some((path) => {
      try {
        accessSync(join(path, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  );
}

function checkTools({ cuda }) {
  const missing = [];
  if (findProgram(['cmake']) === undefined) missing.push('CMake (3.22 or newer)');
  const compilers = process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['c++', 'g++', 'clang++'];
  if (findProgram(compilers) === undefined) {
    missing.push(process.env.CXX ? `the compiler CXX=${process.env.CXX}` : 'a C++20 compiler (g++ 12 or clang 15)');
  }
  if (findProgram(['ninja', 'ninja-build', 'make']) === undefined) missing.push('ninja or make');
  const toolkits = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'].filter(Boolean);
  const nvcc = ['nvcc', ...[process.env.CUDACXX].filter(Boolean), ...toolkits.map((path) => join(path, 'bin/nvcc'))];
  if (cuda && findProgram(nvcc) === undefined) {
    fail('nvcc not found. Compiling the GPU kernels needs the CUDA toolkit, 12.4 or newer; a GPU it does not need.');
  }
  if (missing.length === 0) return;
  fail(
    `${missing.join(' and ')} not found. Compiling the native addon needs them:\n` +
      '  Debian, Ubuntu: apt-get install cmake g++ ninja-build\n' +
      '  Fedora, RHEL:   dnf install cmake gcc-c++ ninja-build',
  );
}

/** A build tree that was moved, or whose configuration did not finish, cannot be used any more. */
function dropUnusableTree(cmake) {
  const cache = join(cmake, 'CMakeCache.txt');
  if (!existsSync(cache)) return;
  const source = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  const complete = ['build.ninja', 'Makefile'].some((file) => existsSync(join(cmake, file)));
  if (source !== root || !complete) rmSync(cmake, { recursive: true, force: true });
}

function availableBytes() {
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, freemem()) : freemem();
}

const options = readOptions();
const { cmake, addon, tests } = folders(options);
checkTools(options);
dropUnusableTree(cmake);
const jobs = Math.max(1, Math.min(availableParallelism(), Math.floor(availableBytes() / BYTES_PER_COMPILER)));
const cmakeJs = join(dirname(require.resolve('cmake-js/package.json', { paths: [root] })), 'bin/cmake-js');
const hasTests = existsSync(join(root, 'native/test'));
if (options.tests && !hasTests) fail('--tests: this package comes without native/test');

function build(target) {
  const args = ['build', '-d', root, '-O', cmake, '-T', target, '-l', 'warn', '-p', String(jobs)];
  args.push(`--CDCMAKE_BUILD_TYPE=${options.buildType}`, `--CDVITRINE_SANITIZER=${options.sanitizer}`);
  args.push(`--CDCMAKE_LIBRARY_OUTPUT_DIRECTORY=${addon}`, `--CDCMAKE_RUNTIME_OUTPUT_DIRECTORY=${tests}`);
  args.push(`--CDVITRINE_EMULATE_BF16=${options.emulateBf16 ? 'ON' : 'OFF'}`);
  args.push(`--CDVITRINE_TESTS=${hasTests ? 'ON' : 'OFF'}`, `--CDVITRINE_CUDA=${options.cuda ? 'ON' : 'OFF'}`);
  const { status, error } = spawnSync(process.execPath, [cmakeJs, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) fail(`the build of ${target} failed${error ? `: ${error.message}` : ''}`);
}

build(options.cuda ? 'vitrine_cuda' : 'vitrine');
if (options.tests && !options.cuda) build('vitrine_tests');

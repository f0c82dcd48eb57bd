// What a report says of the machine and the source it is about.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { findTool, root, run } from './programs.mjs';

export const library = join(root, 'build/cuda/libvitrine_cuda.so');

const firstLine = (text) => text.trim().split('\n')[0] ?? '';
const ask = (command, args) => run(command, args, { seconds: 30 });

export function describeMachine() {
  const query = 'name,driver_version,memory.total,compute_cap,pcie.link.gen.current,power.limit,clocks.max.sm';
  const smi = ask('nvidia-smi', [`--query-gpu=${query}`, '--format=csv,noheader']);
  const commitFile = join(root, 'COMMIT');
  const git = ask('git', ['rev-parse', 'HEAD']);
  const dirty = ask('git', ['status', '--porcelain']);
  const nvcc = findTool('nvcc', ['/usr/local/cuda/bin']);
  return {
    gpu: smi.ok ? smi.stdout.trim().split('\n') : null,
    commit: existsSync(commitFile) ? readFileSync(commitFile, 'utf8').trim() : git.ok ? git.stdout.trim() : 'unknown',
    changed: existsSync(commitFile) ? false : dirty.ok && dirty.stdout !== '',
    nvcc: nvcc === undefined ? null : (/release .*/.exec(ask(nvcc, ['--version']).stdout)?.[0] ?? null),
    cmake: firstLine(ask('cmake', ['--version']).stdout),
    node: process.version,
    kernel: firstLine(ask('uname', ['-rm']).stdout),
  };
}

/** Python's packages of CUDA's libraries: PyTorch brings them, and often they are the only ones on a machine. */
const FIND_PACKAGES = `
import importlib.util
found = importlib.util.find_spec('nvidia')
print('\\n'.join(found.submodule_search_locations if found else []))`;

/** Folders with a cublasLt or a CUPTI of Python's packages, where the loader does not look by itself. */
export function pythonLibraryFolders() {
  const python = findTool('python3');
  if (python === undefined) return [];
  const found = ask(python, ['-c', FIND_PACKAGES]);
  const packages = found.ok ? found.stdout.split('\n').filter((path) => path !== '' && existsSync(path)) : [];
  return packages
    .flatMap((path) => namesIn(path).map((name) => join(path, name, 'lib')))
    .filter((folder) => namesIn(folder).some((file) => /^lib(cublasLt|cupti)\.so/.test(file)));
}

/** None where there is no folder, or none that may be read. */
function namesIn(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** For the programs that are started from here on, behind what is there already. */
export function addLibraryFolders(folders) {
  const given = process.env.LD_LIBRARY_PATH;
  if (folders.length > 0) process.env.LD_LIBRARY_PATH = [...(given ? [given] : []), ...folders].join(delimiter);
}

/** The GPU as our own library sees it. */
export function probeDevice() {
  const script = `
    import { loadAddon } from './dist/native/load.js';
    console.log(JSON.stringify(loadAddon().cudaDevices(${JSON.stringify(library)})));`;
  const result = ask(process.execPath, ['--input-type=module', '-e', script]);
  if (result.ok) return { ok: true, devices: JSON.parse(result.stdout) };
  return { ok: false, reason: /Error: (.*)/.exec(result.tail.join('\n'))?.[1] ?? result.tail.at(-1) };
}

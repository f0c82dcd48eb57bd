// What a report says of the machine and the source it is about.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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

/** The GPU as our own library sees it. */
export function probeDevice() {
  const script = `
    import { loadAddon } from './dist/native/load.js';
    console.log(JSON.stringify(loadAddon().cudaDevices(${JSON.stringify(library)})));`;
  const result = ask(process.execPath, ['--input-type=module', '-e', script]);
  if (result.ok) return { ok: true, devices: JSON.parse(result.stdout) };
  return { ok: false, reason: /Error: (.*)/.exec(result.tail.join('\n'))?.[1] ?? result.tail.at(-1) };
}

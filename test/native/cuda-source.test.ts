// What no compiler checks of the CUDA kernels' sources.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../native/backend/cuda/', import.meta.url));

/** The text of each kernel's body by `file: name`. */
function kernels(): Map<string, string> {
  const found = new Map<string, string>();
  for (const file of readdirSync(folder).filter((name) => /\.cuh?$/.test(name))) {
    const text = readFileSync(folder + file, 'utf8').replaceAll(/\/\/.*$/gm, '');
    for (const { index, 1: name } of text.matchAll(/__global__[^;{]*?(\w+_kernel\w*)\(/g)) {
      const begin = text.indexOf('{', index);
      const end = text.indexOf('\n}', begin);
      found.set(
        `${file}: ${name}`,
        text.slice(begin, end < 0 || text[begin + 1] === ' ' ? text.indexOf('}', begin) : end),
      );
    }
  }
  return found;
}

describe('CUDA kernels', () => {
  it('wait for the kernels before them, once, before they can return or store', () => {
    const bodies = kernels();
    assert.ok(bodies.size >= 20, `only ${bodies.size} kernels were found`);
    for (const [name, body] of bodies) {
      const [before, ...after] = body.split('wait_for_earlier_kernels();');
      assert.equal(after.length, 1, `${name} waits ${after.length} times`);
      assert.doesNotMatch(before!, /\breturn\b|\bstore\(|\bto\[|\bout\[/, `${name} does something before it waits`);
    }
  });

  it('promise of nothing but weights that it does not change', () => {
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.cuh'))) {
      const text = readFileSync(folder + file, 'utf8').replaceAll(/\/\/.*$/gm, '');
      assert.doesNotMatch(text, /__ldg/, file);
      for (const [, name] of text.matchAll(/__restrict__ (\w+)/g)) assert.equal(name, 'weight', file);
    }
  });
});

// Runs a process with the NVTX tool of native/test attached and reads what it logged.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TOOL = fileURLToPath(new URL('../../build/tests/nvtx_log_tool.so', import.meta.url));

/** For a test's `skip`: why the tool cannot be used, or false. */
export const NVTX_SKIP = existsSync(TOOL)
  ? false
  : 'build/tests/nvtx_log_tool.so is not built (node scripts/build-native.cjs --tests)';

export interface NvtxRange {
  readonly text: string;
  readonly children: NvtxRange[];
}

export class NvtxLog {
  readonly path: string;

  constructor(directory: string) {
    this.path = join(directory, 'nvtx.log');
  }

  /** What a process needs to load the tool. */
  get env(): NodeJS.ProcessEnv {
    return { NVTX_INJECTION64_PATH: TOOL, VITRINE_NVTX_LOG: this.path };
  }

  /** Outermost ranges of every thread, in order. Throws when a push lacks its pop or a pop its push. */
  threads(): NvtxRange[][] {
    const threads = new Map<string, NvtxRange[][]>();
    const text = existsSync(this.path) ? readFileSync(this.path, 'utf8') : '';
    for (const line of text.split('\n').slice(0, -1)) {
      const [, kind, tid, name] = /^(push|pop) (\d+) ?(.*)$/s.exec(line) ?? [];
      if (kind === undefined) throw new Error(`unknown line ${JSON.stringify(line)}`);
      const stack = threads.get(tid!) ?? [[]];
      threads.set(tid!, stack);
      if (kind === 'push') {
        const range = { text: name!, children: [] };
        stack.at(-1)!.push(range);
        stack.push(range.children);
      } else if (stack.length > 1) {
        stack.pop();
      } else {
        throw new Error(`thread ${tid}: a pop without a push`);
      }
    }
    for (const [tid, stack] of threads) {
      if (stack.length !== 1) throw new Error(`thread ${tid}: ${stack.length - 1} ranges are still open`);
    }
    return [...threads.values()].map(([top]) => top!);
  }
}

/** All ranges below and at these, outer ones first. */
export function flatten(ranges: readonly NvtxRange[]): NvtxRange[] {
  return ranges.flatMap((range) => [range, ...flatten(range.children)]);
}

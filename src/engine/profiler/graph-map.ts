// For tools that record a GPU by themselves, as nsys does: which op of the model each node of a replayed CUDA graph is.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CapturedGraph } from '../../native/addon.js';
import { makeDirectory } from '../../util/make-directory.js';

export interface GraphMap {
  readonly version: 1;
  readonly graphs: readonly {
    readonly batchSize: number;
    /** The NVTX range around each replay. */
    readonly range: string;
    /**
     * Kernels, copies and memsets in the order in which they run in every replay, [module, op, how many]; module: null
     * where the op belongs to none.
     */
    readonly nodes: readonly (readonly [module: string | null, op: string, count: number])[];
  }[];
}

export function graphMap(graphs: readonly CapturedGraph[]): GraphMap {
  return {
    version: 1,
    graphs: graphs.map(({ batchSize, range, ops }) => ({
      ...{ batchSize, range },
      nodes: ops.map(({ module, op, nodes }) => [module, op, nodes] as const),
    })),
  };
}

/** Writes the map of this process's engine; returns its path. */
export async function writeGraphMap(directory: string, graphs: readonly CapturedGraph[]): Promise<string> {
  await makeDirectory(directory);
  const path = join(directory, `vitrine-${process.pid}.cuda-graphs.json`);
  await writeFile(path, `${JSON.stringify(graphMap(graphs))}\n`);
  return path;
}

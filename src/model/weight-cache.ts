// What tells one cache of packed weights from another, and when there can be one.
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { EngineOptions } from '../config/tables/engine-options.js';
import type { LoadPlan, ModelSpec, WeightCachePlan } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import { DTYPE_BYTES } from './dtype-bytes.js';
import { heldDType } from './held-dtype.js';

/** Of each matrix: other weights of the same shapes may come with the same modification time. Vectors and scales are read whole. */
const SAMPLE_BYTES = 4096;

/** @throws VitrineError INVALID_OPTION where --weight-cache-dir can have no effect. */
export function checkWeightCache({ weightCacheDir, device, loadFormat }: EngineOptions): void {
  if (weightCacheDir === undefined) return;
  const refuse = (other: string, why: string) =>
    new VitrineError('INVALID_OPTION', `--weight-cache-dir cannot be used with ${other}: ${why}.`, {
      param: '--weight-cache-dir',
    });
  if (device === 'cuda') throw refuse('--device cuda', 'it keeps weights as the CPU reads them');
  if (loadFormat === 'dummy') throw refuse('--load-format dummy', 'there is no checkpoint whose weights could be kept');
}

/**
 * The identity covers the files' sizes, modification times, samples of each tensor, how their bytes become
 * parameters, and the dtypes these are held in. Names do not count: a model may be moved.
 */
export async function planWeightCache(directory: string, plan: LoadPlan, spec: ModelSpec): Promise<WeightCachePlan> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(plan.parameters.map((parameter) => [heldDType(spec, parameter.name), parameter])));
  const files: FileHandle[] = [];
  try {
    for (const { path, bytes } of plan.files) {
      const file = await open(path, 'r');
      files.push(file);
      const { mtimeNs } = await file.stat({ bigint: true });
      hash.update(`${bytes} ${mtimeNs}\n`);
    }
    for (const { cols, pieces } of plan.parameters) {
      for (const { file, offset, rows, dtype, scales } of pieces) {
        const bytes = rows * cols * DTYPE_BYTES[dtype];
        hash.update(await read(files[file]!, offset, cols === 1 ? bytes : Math.min(SAMPLE_BYTES, bytes)));
        if (scales === undefined) continue;
        hash.update(await read(files[scales.file]!, scales.offset, scales.count * DTYPE_BYTES[scales.dtype]));
      }
    }
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
  return { directory: resolve(directory), identity: hash.digest('hex').slice(0, 32) };
}

/** Fewer bytes where the file ends. */
async function read(file: FileHandle, offset: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, offset);
  return buffer.subarray(0, bytesRead);
}

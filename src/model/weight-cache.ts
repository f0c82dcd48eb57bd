// What tells one cache of packed weights from another, and when there can be one.
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { EngineOptions } from '../config/tables/engine-options.js';
import type { LoadPlan, ModelSpec, WeightCachePlan } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import { heldDType } from './held-dtype.js';

/** Of each file, evenly spread: other weights of the same shapes may come with the same modification time. */
const SAMPLES = 64;
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
 * The identity covers the files' sizes, modification times and samples of their contents, how their bytes become
 * parameters, and the dtypes these are held in. Names do not count: a model may be moved.
 */
export async function planWeightCache(directory: string, plan: LoadPlan, spec: ModelSpec): Promise<WeightCachePlan> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(plan.parameters.map((parameter) => [heldDType(spec, parameter.name), parameter])));
  for (const { path, bytes } of plan.files) await hashFile(path, bytes, (part) => hash.update(part));
  return { directory: resolve(directory), identity: hash.digest('hex').slice(0, 32) };
}

async function hashFile(path: string, bytes: number, update: (part: string | Buffer) => void): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { mtimeNs } = await file.stat({ bigint: true });
    update(`${bytes} ${mtimeNs}\n`);
    const sample = Buffer.alloc(Math.min(SAMPLE_BYTES, bytes));
    for (let i = 0; i < SAMPLES; i++) {
      const at = Math.floor(((bytes - sample.length) * i) / (SAMPLES - 1));
      const { bytesRead } = await file.read(sample, 0, sample.length, at);
      update(sample.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

// The batch sizes of decode steps that get a CUDA graph; batches between two of them are padded to the larger one.
import type { EngineOptions } from '../config/tables/engine-options.js';
import type { DeviceInfo } from '../native/addon.js';
import { gpuDefaults } from './device-options.js';

export interface CudaGraphConfig {
  /** Ascending; empty on the CPU. */
  readonly batchSizes: readonly number[];
  /** Off: steps of these sizes are padded all the same and run op by op, so that graphs change no token. */
  readonly capture: boolean;
}

type GraphOptions = Pick<EngineOptions, 'disableCudaGraph' | 'cudaGraphMaxBs' | 'cudaGraphBs'>;

/** What to capture for at most `maxRequests` requests in a step. */
export function cudaGraphConfig(options: GraphOptions, device: DeviceInfo, maxRequests: number): CudaGraphConfig {
  const { disableCudaGraph, cudaGraphMaxBs, cudaGraphBs } = options;
  if (device.kind === 'cpu') return { batchSizes: [], capture: false };
  const wanted = cudaGraphBs ?? sizesUpTo(cudaGraphMaxBs ?? gpuDefaults(device.totalBytes).cudaGraphMaxBs);
  return { batchSizes: fitting(wanted, maxRequests), capture: !disableCudaGraph };
}

/** 1, 2, 4, 8, 12, then every 8 to 256, every 16 to 512, every 32; and the largest itself. */
function sizesUpTo(largest: number): number[] {
  const sizes = [1, 2, 4, 8, 12];
  for (let size = 16; size <= largest; size += size < 256 ? 8 : size < 512 ? 16 : 32) sizes.push(size);
  return [...sizes, largest].filter((size) => size <= largest);
}

/** Ascending, each once; sizes beyond `most` become `most`. */
function fitting(sizes: readonly number[], most: number): number[] {
  return [...new Set(sizes.map((size) => Math.min(size, most)))].sort((a, b) => a - b);
}

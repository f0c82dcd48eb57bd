// Options whose default depends on the device: on a GPU as SGLang chooses them, by its memory.
import type { SchedulerOptions } from '../config/tables/scheduler-options.js';
import type { DeviceInfo } from '../native/addon.js';

const MIB = 2 ** 20;
const CPU_CHUNK = 2048;
const CPU_MEM_FRACTION = 0.3;

/** What a GPU of less than so many MiB starts with; the last row is for all larger ones. */
const GPU_DEFAULTS = [
  { belowMib: 20 * 1024, chunkedPrefillSize: 2048, cudaGraphMaxBs: 8 },
  { belowMib: 35 * 1024, chunkedPrefillSize: 2048, cudaGraphMaxBs: 24 },
  { belowMib: 60 * 1024, chunkedPrefillSize: 4096, cudaGraphMaxBs: 32 },
  { belowMib: 160 * 1024, chunkedPrefillSize: 8192, cudaGraphMaxBs: 256 },
  { belowMib: Number.POSITIVE_INFINITY, chunkedPrefillSize: 16384, cudaGraphMaxBs: 512 },
] as const;

export interface GpuDefaults {
  readonly chunkedPrefillSize: number;
  readonly cudaGraphMaxBs: number;
}

/** Options with all that the device decides decided. */
export type DeviceOptions = SchedulerOptions & {
  readonly chunkedPrefillSize: number;
  /** CPU: share of the free memory for the KV cache. GPU: share of the memory for weights and KV cache. */
  readonly memFractionStatic: number;
};

export function gpuDefaults(totalBytes: number): GpuDefaults {
  return GPU_DEFAULTS.find(({ belowMib }) => totalBytes / MIB < belowMib)!;
}

/**
 * SGLang's rule: what is not for weights and KV cache is for a constant part, the activations of the largest prefill
 * step, CUDA graphs and communication, and on a large GPU 10 GiB at least.
 */
export function automaticMemFraction(totalBytes: number, prefillTokens: number, cudaGraphMaxBs: number): number {
  const totalMib = totalBytes / MIB;
  let reservedMib = 512 + 1.5 * Math.max(prefillTokens, 2048) + 2 * cudaGraphMaxBs + 128;
  if (totalMib > 60 * 1024) reservedMib = Math.max(reservedMib, 10 * 1024);
  return Math.max(0.01, Number(((totalMib - reservedMib) / totalMib).toFixed(3)));
}

export function withDeviceOptions(options: SchedulerOptions, device: DeviceInfo): DeviceOptions {
  if (device.kind === 'cpu') {
    return {
      ...options,
      chunkedPrefillSize: options.chunkedPrefillSize ?? CPU_CHUNK,
      memFractionStatic: options.memFractionStatic ?? CPU_MEM_FRACTION,
    };
  }
  const defaults = gpuDefaults(device.totalBytes);
  const chunkedPrefillSize = options.chunkedPrefillSize ?? defaults.chunkedPrefillSize;
  const prefillTokens = chunkedPrefillSize > 0 ? chunkedPrefillSize : options.maxPrefillTokens;
  const largestGraph = options.cudaGraphMaxBs ?? Math.max(...(options.cudaGraphBs ?? [defaults.cudaGraphMaxBs]));
  return {
    ...options,
    chunkedPrefillSize,
    memFractionStatic:
      options.memFractionStatic ?? automaticMemFraction(device.totalBytes, prefillTokens, largestGraph),
  };
}

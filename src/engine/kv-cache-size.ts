// How many KV blocks and request slots an engine gets: what was asked for, else what the memory has room for.
import type { DeviceInfo, MemoryInfo } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import type { DeviceOptions } from './device-options.js';

const MIB = 2 ** 20;
/** Below this many tokens (or the whole context, if that is shorter) a server can do nothing of use. */
const LEAST_TOKENS = 256;
/** Positions in the KV cache are 32-bit integers. */
const MOST_TOKENS = 2 ** 31 - 1;
const CPU_REQUESTS = 256;
/** Of a GPU, as SGLang has it. */
const LEAST_GPU_REQUESTS = 2048;
const MOST_GPU_REQUESTS = 4096;
const GPU_REQUESTS_PER_CONTEXT = 512;

type SizeOptions = Pick<DeviceOptions, 'pageSize' | 'maxTotalTokens' | 'memFractionStatic' | 'maxRunningRequests'>;

export interface SizedMemory {
  readonly device: DeviceInfo['kind'];
  /** Bytes that were available before the weights were loaded. */
  readonly atStart: number;
  /** With the weights loaded. */
  readonly now: MemoryInfo;
}

/** What the KV cache may take, and the words that say where it comes from. */
interface Budget {
  readonly bytes: number;
  readonly text: string;
}

/** @throws VitrineError OUT_OF_MEMORY or INVALID_OPTION, with the numbers and the option to change. */
export function kvCacheBlocks(options: SizeOptions, contextLength: number, memory: SizedMemory): number {
  const { pageSize, maxTotalTokens } = options;
  const blockBytes = memory.now.kvBytesPerToken * pageSize;
  const budget = memory.device === 'cpu' ? cpuBudget(options, memory) : gpuBudget(options, memory);
  if (maxTotalTokens !== undefined) return askedBlocks(maxTotalTokens, pageSize, blockBytes, memory, budget);

  const affordable = Math.floor(budget.bytes / blockBytes);
  const least = Math.ceil(Math.min(contextLength, LEAST_TOKENS) / pageSize);
  if (affordable < least) {
    throw new VitrineError(
      'OUT_OF_MEMORY',
      `No room for the KV cache: ${least * pageSize} tokens need ${mib(least * blockBytes)} MiB, and ${budget.text}. ` +
        'Raise --mem-fraction-static, lower --page-size or choose a smaller model.',
      { param: '--mem-fraction-static' },
    );
  }
  const most = Math.min(affordable, Math.floor(MOST_TOKENS / pageSize));
  if (memory.device === 'cuda') return most;
  // The memory of a CPU is not ours alone: no more than all request slots with full contexts can use.
  return Math.min(most, requestSlots(options, contextLength, most, 'cpu') * Math.ceil(contextLength / pageSize));
}

/** Most requests in a step; each needs a block. */
export function requestSlots(
  { pageSize, maxRunningRequests }: SizeOptions,
  contextLength: number,
  blocks: number,
  device: DeviceInfo['kind'],
): number {
  if (maxRunningRequests !== undefined) return maxRunningRequests;
  if (device === 'cpu') return CPU_REQUESTS;
  const contexts = (blocks * pageSize) / contextLength;
  const wanted = Math.max(LEAST_GPU_REQUESTS, Math.trunc(contexts * GPU_REQUESTS_PER_CONTEXT));
  return Math.min(wanted, MOST_GPU_REQUESTS, blocks);
}

/** @throws VitrineError OUT_OF_MEMORY when the weights alone are more than the GPU has free. */
export function checkWeightsFit(weightBytes: number, freeBytes: number): void {
  if (weightBytes <= freeBytes) return;
  throw new VitrineError(
    'OUT_OF_MEMORY',
    `The weights need ${mib(weightBytes)} MiB, but only ${mib(freeBytes)} MiB of the GPU’s memory are free. ` +
      'Choose a smaller model, a smaller --dtype or another GPU (--base-gpu-id), or end what else runs on this one.',
    { param: '--model-path' },
  );
}

function cpuBudget({ memFractionStatic }: SizeOptions, { now }: SizedMemory): Budget {
  const bytes = now.availableBytes * memFractionStatic;
  const text = `--mem-fraction-static ${memFractionStatic} of the ${mib(now.availableBytes)} MiB free is ${mib(bytes)} MiB`;
  return { bytes, text };
}

/** The rest of the memory is for activations, workspaces and graphs. */
function gpuBudget({ memFractionStatic }: SizeOptions, { atStart, now }: SizedMemory): Budget {
  const bytes = Math.max(0, now.availableBytes - atStart * (1 - memFractionStatic));
  const text =
    `--mem-fraction-static ${memFractionStatic} of the ${mib(atStart)} MiB that the GPU had free is ` +
    `${mib(atStart * memFractionStatic)} MiB, of which the weights (${mib(now.weightBytes)} MiB) leave ${mib(bytes)} MiB`;
  return { bytes, text };
}

function askedBlocks(
  maxTotalTokens: number,
  pageSize: number,
  blockBytes: number,
  { device, now }: SizedMemory,
  budget: Budget,
): number {
  const blocks = Math.floor(maxTotalTokens / pageSize);
  if (blocks < 1 || blocks * pageSize > MOST_TOKENS) {
    throw new VitrineError(
      'INVALID_OPTION',
      `--max-total-tokens: expected at least one page of ${pageSize} tokens (--page-size) and at most ` +
        `${MOST_TOKENS} tokens, got ${maxTotalTokens}`,
      { param: '--max-total-tokens' },
    );
  }
  const room = device === 'cpu' ? now.availableBytes : budget.bytes;
  if (blocks * blockBytes > room) {
    const why = device === 'cpu' ? `only ${mib(room)} MiB are free` : budget.text;
    throw new VitrineError(
      'OUT_OF_MEMORY',
      `--max-total-tokens ${maxTotalTokens} needs ${mib(blocks * blockBytes)} MiB of KV cache, but ${why}. ` +
        `Lower it, or leave it out to use what there is.`,
      { param: '--max-total-tokens' },
    );
  }
  return blocks;
}

function mib(bytes: number): string {
  const value = bytes / MIB;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

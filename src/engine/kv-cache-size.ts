// How many KV blocks an engine gets: what was asked for, else a share of the free memory that can be of use.
import type { SchedulerOptions } from '../config/tables/scheduler-options.js';
import type { MemoryInfo } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';

const MIB = 2 ** 20;
/** Below this many tokens (or the whole context, if that is shorter) a server can do nothing of use. */
const LEAST_TOKENS = 256;
/** Positions in the KV cache are 32-bit integers. */
const MOST_TOKENS = 2 ** 31 - 1;

type SizeOptions = Pick<SchedulerOptions, 'pageSize' | 'maxTotalTokens' | 'memFractionStatic' | 'maxRunningRequests'>;

/** @throws VitrineError OUT_OF_MEMORY or INVALID_OPTION, with the numbers and the option to change. */
export function kvCacheBlocks(options: SizeOptions, contextLength: number, memory: MemoryInfo): number {
  const { pageSize, maxTotalTokens, memFractionStatic, maxRunningRequests } = options;
  const blockBytes = memory.kvBytesPerToken * pageSize;
  if (maxTotalTokens !== undefined) return askedBlocks(maxTotalTokens, pageSize, blockBytes, memory.availableBytes);

  const useful = maxRunningRequests * Math.ceil(contextLength / pageSize);
  const affordable = Math.floor((memory.availableBytes * memFractionStatic) / blockBytes);
  const least = Math.ceil(Math.min(contextLength, LEAST_TOKENS) / pageSize);
  if (affordable < least) {
    throw new VitrineError(
      'OUT_OF_MEMORY',
      `No room for the KV cache: ${least * pageSize} tokens need ${mib(least * blockBytes)} MiB, and ` +
        `--mem-fraction-static ${memFractionStatic} of the ${mib(memory.availableBytes)} MiB free is ` +
        `${mib(memory.availableBytes * memFractionStatic)} MiB. Raise --mem-fraction-static, lower --page-size ` +
        'or choose a smaller model.',
      { param: '--mem-fraction-static' },
    );
  }
  return Math.min(useful, affordable, Math.floor(MOST_TOKENS / pageSize));
}

function askedBlocks(maxTotalTokens: number, pageSize: number, blockBytes: number, availableBytes: number): number {
  const blocks = Math.floor(maxTotalTokens / pageSize);
  if (blocks < 1 || blocks * pageSize > MOST_TOKENS) {
    throw new VitrineError(
      'INVALID_OPTION',
      `--max-total-tokens: expected at least one page of ${pageSize} tokens (--page-size) and at most ` +
        `${MOST_TOKENS} tokens, got ${maxTotalTokens}`,
      { param: '--max-total-tokens' },
    );
  }
  if (blocks * blockBytes > availableBytes) {
    throw new VitrineError(
      'OUT_OF_MEMORY',
      `--max-total-tokens ${maxTotalTokens} needs ${mib(blocks * blockBytes)} MiB of KV cache, but only ` +
        `${mib(availableBytes)} MiB are free. Lower it, or leave it out to use what there is.`,
      { param: '--max-total-tokens' },
    );
  }
  return blocks;
}

function mib(bytes: number): string {
  const value = bytes / MIB;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

// What --cuda-graph-bs and --cuda-graph-max-bs may say beside each other.
import { VitrineError } from '../util/errors.js';
import type { EngineOptions } from './tables/engine-options.js';

/** @throws VitrineError INVALID_OPTION when a size that was asked for exceeds the maximum that was asked for. */
export function checkGraphSizes({
  cudaGraphMaxBs,
  cudaGraphBs,
}: Pick<EngineOptions, 'cudaGraphMaxBs' | 'cudaGraphBs'>): void {
  const tooLarge = cudaGraphBs?.find((size) => cudaGraphMaxBs !== undefined && size > cudaGraphMaxBs);
  if (tooLarge === undefined) return;
  throw new VitrineError(
    'INVALID_OPTION',
    `--cuda-graph-bs: expected sizes up to --cuda-graph-max-bs ${cudaGraphMaxBs}, got ${tooLarge}`,
    { param: '--cuda-graph-bs' },
  );
}

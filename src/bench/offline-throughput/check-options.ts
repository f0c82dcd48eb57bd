// Combinations of bench-offline-throughput's flags that make no sense.
import type { OfflineThroughputOptions } from '../../config/tables/offline-throughput-options.js';
import { VitrineError } from '../../util/errors.js';
import { checkDatasetOptions } from '../datasets/check-dataset-options.js';
import type { Output } from '../terminal/output.js';

/** @throws VitrineError INVALID_OPTION */
export function checkOptions(options: OfflineThroughputOptions, output: Output): void {
  const { profile, profileOutputDir } = options;
  checkDatasetOptions(options);
  if (options.logprobStartLen !== -1 && !options.returnLogprob) {
    refuse('--logprob-start-len', 'works with --return-logprob');
  }
  if (profile && !profileOutputDir) {
    refuse('--profile', 'Please set SGLANG_TORCH_PROFILER_DIR. (Or give --profile-output-dir.)');
  }
  if (!profile && (options.profileActivities !== undefined || options.profileSteps !== undefined)) {
    output.warn('--profile-activities and --profile-steps have no effect without --profile');
  }
}

function refuse(flag: string, problem: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag}: ${problem}`, { param: flag });
}

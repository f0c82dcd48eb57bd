// Combinations of bench-serving's flags that make no sense, refused before anything is sent.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { SERVING_PROFILE_OPTIONS } from '../../config/tables/serving-profile-options.js';
import { VitrineError } from '../../util/errors.js';
import { checkBackend } from './backends/check-backend.js';
import { checkDataset } from './check-dataset.js';
import { parseObjectives } from './metrics/goodput.js';

/** @throws VitrineError INVALID_OPTION */
export function checkOptions(options: BenchServingOptions): void {
  checkBackend(options);
  checkDataset(options);
  if (options.goodput !== undefined) parseObjectives(options.goodput);
  checkProfile(options);
}

/** Of the options that are about profiles. @throws VitrineError INVALID_OPTION */
function checkProfile(options: BenchServingOptions): void {
  const { profilePrefillUrl: prefill, profileDecodeUrl: decode } = options;
  if (prefill !== undefined && decode !== undefined) {
    refuse('--profile-decode-url', 'profiles decode servers alone', '--profile-prefill-url');
  }
  // A profiled run is slower than the others: no run to take a median with.
  if (options.profile && options.numRuns > 1)
    refuse('--profile', 'works with one run', `--num-runs ${options.numRuns}`);
  if (options.pdSeparated) return;
  const url = prefill !== undefined ? '--profile-prefill-url' : '--profile-decode-url';
  if (prefill !== undefined || decode !== undefined) refuse(url, 'works with --pd-separated', 'one server');
}

/** Flags that were given and do nothing, for a warning. */
export function idleProfileFlags(options: BenchServingOptions): string[] {
  if (options.profile) {
    return options.profileStages !== undefined && !options.profileByStage
      ? ['--profile-stages (without --profile-by-stage)']
      : [];
  }
  const given = SERVING_PROFILE_OPTIONS.filter(({ key, flag }) => {
    // The environment may hold a directory for other programs.
    const value = options[key];
    return value !== undefined && value !== false && flag !== 'profile-output-dir';
  });
  return given.map(({ flag }) => `--${flag} (without --profile)`);
}

function refuse(flag: string, expected: string, got: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag} ${expected}, not with ${got}`, { param: flag });
}

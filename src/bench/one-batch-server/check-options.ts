// Combinations of bench-one-batch-server's flags that make no sense.
import type { OneBatchServerOptions } from '../../config/tables/one-batch-server-options.js';
import { isFileNamePart } from '../../trace/trace-file-name.js';
import { VitrineError } from '../../util/errors.js';

/** @throws VitrineError INVALID_OPTION */
export function checkOptions(options: OneBatchServerOptions): void {
  const { backend, baseUrl, profilePrefix } = options;
  if (backend === 'vllm') {
    if (baseUrl === '') refuse('--backend', 'vllm works with --base-url: only Vitrine’s own server can be launched');
    if (options.clientStreamInterval !== 1) refuse('--client-stream-interval', 'works with --backend sglang');
    if (options.parallelBatch) refuse('--parallel-batch', 'works with --backend sglang');
    if (options.profile) refuse('--profile', 'works with --backend sglang');
  }
  if (profilePrefix !== undefined && profilePrefix !== '' && !isFileNamePart(profilePrefix)) {
    refuse('--profile-prefix', `expected letters, digits or _ . + = @ -, got ${JSON.stringify(profilePrefix)}`);
  }
}

/** Flags that were given and do nothing, with the reason. */
export function idleFlags(options: OneBatchServerOptions): string[] {
  const idle: string[] = [];
  const { profileSteps, profileByStage, profilePrefix, profileOutputDir } = options;
  const profile = { profileSteps, profilePrefix, profileOutputDir, profileByStage: profileByStage || undefined };
  if (!options.profile && Object.values(profile).some((value) => value !== undefined)) {
    idle.push('--profile-steps, --profile-by-stage, --profile-prefix and --profile-output-dir (without --profile)');
  }
  if (!options.showReport && options.gpuHourlyCost !== undefined)
    idle.push('--gpu-hourly-cost (without --show-report)');
  return idle;
}

function refuse(flag: string, problem: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag}: ${problem}`, { param: flag });
}

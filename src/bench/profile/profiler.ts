// The profiler program: has a running server record its next steps, and waits for the files.
import type { ProfilerOptions } from '../../config/tables/profiler-options.js';
import { VitrineError } from '../../util/errors.js';
import { authorization, checkAddress, type Environment } from '../http/target.js';
import type { Output } from '../terminal/output.js';
import type { WaitNotice } from '../terminal/wait-notice.js';
import { ProfileClient } from './profile-client.js';
import { ProfileRun } from './profile-run.js';

export interface ProfilerDeps {
  readonly output: Output;
  readonly notice: WaitNotice;
  /** The user wants to stop waiting. */
  readonly interrupt: AbortSignal;
  readonly environment: Environment;
}

/**
 * Errors: INVALID_OPTION, NOT_READY, UNAUTHORIZED, BENCH_FAILED, and ABORTED where the wait was interrupted: the profile
 * goes on then.
 */
export async function runProfiler(options: ProfilerOptions, deps: ProfilerDeps): Promise<void> {
  checkOptions(options);
  const baseUrl = checkAddress('--url', options.url);
  const client = new ProfileClient({ baseUrl, headers: authorization(deps.environment, options.apiKey) });
  try {
    const settings = { ...options, activities: activitiesOf(options), outputDirSource: '--output-dir' };
    const run = await ProfileRun.start(client, settings, deps.output);
    if (!options.wait) return;
    const { interrupt: signal, notice } = deps;
    await run.finish({ signal, notice, timeoutSeconds: options.waitTimeout }, deps.output);
  } finally {
    client.close();
  }
}

function activitiesOf({ activities, cpu, gpu, mem }: ProfilerOptions): string[] {
  if (activities !== undefined) return [...new Set(activities)];
  return [...(cpu ? ['CPU'] : []), ...(gpu ? ['GPU'] : []), ...(mem ? ['MEM'] : [])];
}

function checkOptions(options: ProfilerOptions): void {
  if (options.rpd) refuse('--rpd', 'RPD is a profiler of ROCm, which Vitrine has no backend for');
  if (activitiesOf(options).length === 0) {
    refuse('--no-cpu', 'expected at least one of --cpu, --gpu and --mem (or --activities), got none');
  }
  if (options.startStep !== undefined && options.startIn !== undefined) {
    refuse(
      '--start-in',
      `expected one of --start-step and --start-in, got both (${options.startStep}, ${options.startIn})`,
    );
  }
  if (options.profileStages !== undefined && !options.profileByStage) {
    refuse('--profile-stages', 'expected together with --profile-by-stage');
  }
}

function refuse(flag: string, message: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag}: ${message}`, { param: flag });
}

// --profile: runs a point once more and records its prefill and some decode steps, as trace files or as the capture range
// of a CUDA tool. What the recording costs is in no result.
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { profilerDirectory } from '../../config/profiler-directory.js';
import type { OneBatchOptions } from '../../config/tables/one-batch-options.js';
import { ONE_BATCH_PROFILE_OPTIONS } from '../../config/tables/one-batch-profile-options.js';
import type { ModelRunner } from '../../engine/model-runner.js';
import { GpuCapture, missingGpuWarning, noGpuWarning } from '../../engine/profiler/gpu-capture.js';
import { StepTrace } from '../../engine/profiler/step-trace.js';
import type { StepOutput } from '../../engine/step-output.js';
import type { NativeAddon } from '../../native/addon.js';
import type { SpanProcess } from '../../trace/record/span-source.js';
import { summariseTrace } from '../../trace/summary/trace-summary.js';
import { hostId, monotonicToWallNs } from '../../trace/trace-clock.js';
import { isFileNamePart, TRACE_SUFFIX } from '../../trace/trace-file-name.js';
import { rankMetadata } from '../../trace/write/rank-metadata.js';
import { toError, VitrineError } from '../../util/errors.js';
import { makeDirectory } from '../../util/make-directory.js';
import { sum } from '../statistics/statistics.js';
import type { Output } from '../terminal/output.js';
import { renderKeyAverages } from './key-averages.js';
import type { Point } from './latency-test.js';
import { StaticBatch } from './static-batch.js';

const DEFAULT_ACTIVITIES = ['CPU', 'GPU'] as const;
const MAX_FILE_BYTES = 2 ** 31;
/** Nobody is served meanwhile: what waits for the writer may be large. */
const MAX_PENDING_BYTES = 1 << 30;

export interface PointProfilerDeps {
  readonly addon: NativeAddon;
  readonly output: Output;
  readonly interrupt: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Steps of one stage that are recorded together. */
interface Window {
  readonly runner: ModelRunner;
  readonly stage: 'prefill' | 'decode';
  readonly point: Point;
  readonly steps: number;
  /** Tokens of a step. */
  readonly tokens: number;
  readonly run: (profile: boolean) => Promise<StepOutput>;
}

export class PointProfiler {
  readonly #options: OneBatchOptions;
  readonly #deps: PointProfilerDeps;
  readonly #usesCuda: boolean;

  private constructor(options: OneBatchOptions, deps: PointProfilerDeps, usesCuda: boolean) {
    this.#options = options;
    this.#deps = deps;
    this.#usesCuda = usesCuda;
  }

  /**
   * undefined without --profile. Errors, before anything is timed: INVALID_OPTION where there is no CUDA for
   * CUDA_PROFILER, nothing to record, or no directory to write to.
   */
  static async create(options: OneBatchOptions, deps: PointProfilerDeps): Promise<PointProfiler | undefined> {
    for (const flag of idleFlags(options)) deps.output.warn(`${flag} has no effect`);
    if (!options.profile || options.correctnessTest) return undefined;
    const activities = options.profileActivities ?? DEFAULT_ACTIVITIES;
    const usesCuda = activities.includes('CUDA_PROFILER');
    if (usesCuda) checkCuda(deps.addon);
    else if (!activities.includes('CPU')) {
      throw invalid('--profile-activities', 'expected CPU or CUDA_PROFILER among them');
    }
    const prefix = options.profileFilenamePrefix;
    if (prefix !== undefined && !isFileNamePart(prefix)) {
      throw invalid(
        '--profile-filename-prefix',
        `expected letters, digits or _ . + = @ -, got ${JSON.stringify(prefix)}`,
      );
    }
    if (!usesCuda) await prepareDirectory(profilerDirectory(deps.environment));
    return new PointProfiler(options, deps, usesCuda);
  }

  /** Errors: TRACE_NOT_WRITTEN, ENGINE_FAILED, ABORTED. */
  async profile(runner: ModelRunner, point: Point, prompts: readonly ArrayLike<number>[]): Promise<void> {
    const { profileStage: stage = 'all', profileStartStep, profileSteps = 1 } = this.#options;
    const { batchSize, outputLen } = point;
    const batch = new StaticBatch(
      runner,
      prompts.map((prompt) => prompt.length + outputLen),
      { interrupt: this.#deps.interrupt },
    );
    const extend = (profile: boolean) => batch.extend(prompts, profile);
    const tokens = sum(prompts.map((prompt) => prompt.length));
    if (stage === 'decode') await extend(false);
    else await this.#record({ runner, stage: 'prefill', point, steps: 1, tokens, run: extend });
    if (stage === 'prefill') return;

    const first = profileStartStep ?? Math.floor(outputLen / 2);
    const steps = Math.min(profileSteps, outputLen - 1 - first);
    if (steps <= 0) {
      const count = outputLen === 1 ? 'no decode step' : `decode steps 0 to ${outputLen - 2} only`;
      this.#deps.output.warn(
        `No decode step is recorded: step ${first} was to be, output length ${outputLen} has ${count}`,
      );
      return;
    }
    for (let step = 0; step < first; step++) await batch.decode();
    const run = (profile: boolean) => batch.decode(profile);
    await this.#record({ runner, stage: 'decode', point, steps, tokens: batchSize, run });
  }

  #record(window: Window): Promise<void> {
    return this.#usesCuda ? this.#capture(window) : this.#trace(window);
  }

  /** With SGLang’s words. */
  async #capture({ stage, steps, run }: Window): Promise<void> {
    const { addon, output } = this.#deps;
    addon.cudaProfilerStart();
    output.print('CUDA Profiler started (nsys will begin capturing)');
    try {
      for (let i = 0; i < steps; i++) await run(false);
    } finally {
      addon.cudaProfilerStop();
      output.print('CUDA Profiler stopped (nsys should dump traces)');
    }
    output.print(`CUDA profiler trace for ${stage} completed`);
  }

  async #trace({ runner, stage, point, steps, tokens, run }: Window): Promise<void> {
    const { addon, environment, output } = this.#deps;
    const { profileFilenamePrefix: prefix = 'profile', profileRecordShapes: recordShapes } = this.#options;
    const { batchSize, inputLen, outputLen } = point;
    const owner = { pid: process.pid, name: 'bench-one-batch', labels: runner.device.kind.toUpperCase(), sortIndex: 0 };
    const profileId = `${prefix}_batch${batchSize}_input${inputLen}_output${outputLen}`;
    const path = join(profilerDirectory(environment), `${profileId}_${stage}${TRACE_SUFFIX}`);
    const trace = await StepTrace.open({
      path,
      ...rankMetadata({
        devices: [runner.device],
        rank: 0,
        worldSize: 1,
        backend: 'none',
        withStack: false,
        recordShapes,
      }),
      vitrine: {
        ...{ version: addon.buildInfo().version, profileId, stage, ranks: { tp: 0 }, hostId: hostId() },
        monotonicToWallNs: String(monotonicToWallNs()),
      },
      ...{ maxFileBytes: MAX_FILE_BYTES, maxPendingBytes: MAX_PENDING_BYTES },
      process: owner,
      tables: runner.spanTables(),
    });
    const warnings = new Set<string>();
    const gpu = this.#openGpu(runner, owner, warnings);
    try {
      const mode = stage === 'prefill' ? 'extend' : 'decode';
      for (let i = 0; i < steps; i++) {
        const step = await run(true);
        const { stepId } = step;
        gpu?.claim(stepId, trace);
        const nothing = { cachedTokens: 0, waiting: 0, flowIds: [] };
        trace.addStep({ stepId, mode, batchSize, tokens, ...nothing, output: step });
      }
      attempt(warnings, () => gpu?.finish());
    } catch (thrown) {
      await trace.discard();
      throw thrown;
    } finally {
      attempt(warnings, () => gpu?.stop());
    }
    const { droppedRecords } = await trace.finish([...warnings]);
    for (const warning of warnings) output.warn(warning);
    for (const line of renderKeyAverages(await summariseTrace(path, Number.MAX_SAFE_INTEGER))) output.print(line);
    if (droppedRecords > 0) output.warn(`${droppedRecords} records were dropped: the times above are too low`);
    output.print(`torch profiler chrome trace for ${stage} saved to ${path}`);
  }

  /** Records what the GPU does from here on; null where there is none, or none that can be recorded: a warning then. */
  #openGpu(runner: ModelRunner, owner: SpanProcess, warnings: Set<string>): GpuCapture | null {
    const { deviceTracing } = runner;
    if (deviceTracing === null || !(this.#options.profileActivities ?? DEFAULT_ACTIVITIES).includes('GPU')) return null;
    const gpu = new GpuCapture(deviceTracing, owner);
    try {
      gpu.start();
      return gpu;
    } catch (thrown) {
      warnings.add(noGpuWarning(toError(thrown).message));
      return null;
    }
  }
}

/** A GPU that fails to tell of its work costs the file that work and nothing else. */
function attempt(warnings: Set<string>, call: () => void): void {
  try {
    call();
  } catch (thrown) {
    warnings.add(missingGpuWarning(toError(thrown).message));
  }
}

/** A stop without a start does nothing, and fails as a start would: the capture range must not open yet. */
function checkCuda(addon: NativeAddon): void {
  try {
    addon.cudaProfilerStop();
  } catch (thrown) {
    throw invalid('--profile-activities', `CUDA_PROFILER needs CUDA: ${toError(thrown).message}`);
  }
}

async function prepareDirectory(directory: string): Promise<void> {
  try {
    await makeDirectory(directory);
    await access(directory, constants.W_OK);
  } catch (thrown) {
    throw invalid('--profile', `traces cannot be written to ${directory}: ${toError(thrown).message}`);
  }
}

function invalid(flag: string, message: string): VitrineError {
  return new VitrineError('INVALID_OPTION', `${flag}: ${message}`, { param: flag });
}

/** Flags that were given and do nothing, with the reason. */
function idleFlags(options: OneBatchOptions): string[] {
  const given = ONE_BATCH_PROFILE_OPTIONS.filter(({ key }) => options[key] !== undefined && options[key] !== false);
  if (options.correctnessTest) return given.map(({ flag }) => `--${flag} (with --correctness-test)`);
  if (!options.profile) return given.map(({ flag }) => `--${flag} (without --profile)`);
  const decodeOnly = options.profileStage === 'prefill' ? ['profile-start-step', 'profile-steps'] : [];
  return given
    .filter(({ flag }) => decodeOnly.includes(flag))
    .map(({ flag }) => `--${flag} (with --profile-stage prefill)`);
}

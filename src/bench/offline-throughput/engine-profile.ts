// --profile: the steps of the measured run, recorded by the engine in this process.
import { setTimeout as sleep } from 'node:timers/promises';
import type { OfflineThroughputOptions } from '../../config/tables/offline-throughput-options.js';
import { isFinal, type ProfileStatus } from '../../frontend/profiler/profile-status.js';
import { profileJson } from '../../server/profile.js';
import { printReport } from '../profile/profile-run.js';
import type { Output } from '../terminal/output.js';
import type { OfflineEngine } from './offline-throughput.js';

const POLL_MS = 50;
/** Why recording ends as it was asked to. */
const PLANNED_ENDS: readonly unknown[] = ['num_steps', 'stop'];

export class EngineProfile {
  readonly #engine: OfflineEngine;
  readonly #started: ProfileStatus;

  private constructor(engine: OfflineEngine, started: ProfileStatus) {
    this.#engine = engine;
    this.#started = started;
  }

  /** Errors: TRACE_NOT_WRITTEN, INVALID_REQUEST where there is no CUDA for CUDA_PROFILER. */
  static async start(engine: OfflineEngine, options: OfflineThroughputOptions): Promise<EngineProfile> {
    const { profileOutputDir, profileActivities: activities = ['CPU', 'GPU'], profileSteps } = options;
    const started = await engine.startProfile({
      activities,
      ...(profileOutputDir === undefined ? {} : { outputDir: profileOutputDir }),
      ...(profileSteps === undefined ? {} : { numSteps: profileSteps }),
    });
    return new EngineProfile(engine, started);
  }

  /** Ends it, waits for its files and prints them. @throws VitrineError BENCH_FAILED where it failed */
  async finish(output: Output): Promise<void> {
    output.print(`Monitoring ${this.#started.outputDir} for new trace files...`);
    const { profileId } = this.#started;
    let status = (await this.#engine.profileStatus(profileId)) ?? this.#started;
    if (status.state === 'armed' || status.state === 'recording') status = await this.#engine.stopProfile();
    while (!isFinal(status.state)) {
      await sleep(POLL_MS);
      status = (await this.#engine.profileStatus(profileId)) ?? status;
    }
    for (const { path } of status.files) output.print(`New file detected: ${path}`);
    printReport(profileJson(status), output);
    if (PLANNED_ENDS.includes(status.endedBy)) return;
    output.warn(`Profile ${profileId} holds the first ${status.recordedSteps} steps: ended by ${status.endedBy}`);
  }
}

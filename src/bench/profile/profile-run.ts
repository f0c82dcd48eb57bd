// One profile of a running server, from the client's side: its directory, the order to record, the wait for its files.
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { unixSeconds } from '../../util/clock.js';
import { toError, VitrineError } from '../../util/errors.js';
import { makeDirectory } from '../../util/make-directory.js';
import type { JsonObject } from '../../util/read-json.js';
import { hideMembers } from '../results/secrets.js';
import type { Output } from '../terminal/output.js';
import type { ProfileClient } from './profile-client.js';
import { type ProfileReport, renderFiles, renderFoundFile } from './profile-report.js';
import type { ProfileSettings } from './profile-settings.js';
import { waitForFiles } from './wait-for-files.js';
import { type Patience, waitForProfile } from './wait-for-profile.js';

export interface RunSettings extends ProfileSettings {
  /** The files go into a new directory in it, named for the time. */
  readonly outputDir: string;
  /** The flag or variable that gave it, for errors. */
  readonly outputDirSource: string;
  readonly numSteps: number;
}

export class ProfileRun {
  readonly #client: ProfileClient;
  readonly #directory: string;
  readonly #settings: RunSettings;
  readonly #serverInfo: JsonObject | undefined;
  #report: ProfileReport | undefined;

  private constructor(
    client: ProfileClient,
    directory: string,
    settings: RunSettings,
    serverInfo: JsonObject | undefined,
    report: ProfileReport | undefined,
  ) {
    this.#client = client;
    this.#directory = directory;
    this.#settings = settings;
    this.#serverInfo = serverInfo;
    this.#report = report;
  }

  /**
   * Creates the directory with `server_args.json` in it, without keys, and starts the profile, with SGLang's words.
   * Errors: those of the client, and INVALID_OPTION where the directory cannot be made.
   */
  static async start(client: ProfileClient, settings: RunSettings, output: Output): Promise<ProfileRun> {
    // As Python writes str(time.time()): always with a point.
    const stamp = unixSeconds();
    const directory = resolve(settings.outputDir, Number.isInteger(stamp) ? stamp.toFixed(1) : String(stamp));
    output.print(`Dump profiling traces to ${directory}`);
    const byStage = settings.profileByStage ? 'True' : 'False';
    output.print(
      `Waiting for ${settings.numSteps} steps and the trace to be flushed.... (profile_by_stage=${byStage})`,
    );
    const info = await client.serverInfo();
    try {
      await makeDirectory(directory);
      await writeFile(join(directory, 'server_args.json'), `${JSON.stringify(hideMembers(info ?? null))}\n`);
    } catch (thrown) {
      const { outputDir, outputDirSource: param } = settings;
      throw new VitrineError('INVALID_OPTION', `${param} ${outputDir}: ${toError(thrown).message}`, {
        param,
        cause: thrown,
      });
    }
    const report = await client.start({ ...settings, outputDir: directory });
    return new ProfileRun(client, directory, settings, info, report);
  }

  /** Where its files go. */
  get directory(): string {
    return this.#directory;
  }

  /** Ends a profile that still waits for steps or records, where the server tells. */
  async stopUnlessDone(): Promise<void> {
    if (this.#report !== undefined) this.#report = await this.#client.endReported(this.#report);
  }

  /**
   * Waits until the files are there, and prints them. Rejects with BENCH_FAILED where the profile or its merge failed,
   * or nothing came in time, and with ABORTED where the user stopped waiting.
   */
  async finish(patience: Patience, output: Output): Promise<void> {
    if (this.#report !== undefined) {
      printReport(await waitForProfile(this.#client, this.#report, patience), output);
      return;
    }
    const expected = { directory: this.#directory, count: this.#expectedFiles(), baseUrl: this.#client.baseUrl };
    for (const file of await waitForFiles(expected, patience)) output.print(renderFoundFile(file));
  }

  /** One file a scheduler process and stage, and one more for a merge (by stage, SGLang overwrites the first). */
  #expectedFiles(): number {
    const size = (key: string): number => {
      const value = this.#serverInfo?.[key];
      return typeof value === 'number' && value >= 1 ? value : 1;
    };
    // With attention data-parallel inside a group of ranks, dp counts no ranks of its own.
    const dp = this.#serverInfo?.enable_dp_attention === true ? 1 : size('dp_size');
    const stages = this.#settings.profileByStage ? (this.#settings.profileStages?.length ?? 2) : 1;
    return size('tp_size') * size('pp_size') * dp * stages + (this.#settings.mergeProfiles ? 1 : 0);
  }
}

/** Prints the files of a settled profile. @throws VitrineError BENCH_FAILED where it or its merge failed */
export function printReport(report: ProfileReport, output: Output): void {
  for (const line of renderFiles(report)) output.print(line);
  const { state, error, merge, ended_by: endedBy, planned_steps: planned } = report;
  const profile = `Profile ${report.profile_id}`;
  if (state === 'failed')
    throw new VitrineError('BENCH_FAILED', `${profile} failed: ${error?.message ?? 'no reason given'}`);
  if (planned !== null && report.recorded_steps < planned && !holdsAllDecodeSteps(report, planned)) {
    const steps = `${report.recorded_steps} of ${planned} steps`;
    output.warn(`${profile} holds ${steps}: recording was ended by ${endedBy ?? 'the server'}`);
  }
  for (const { path, skipped = [] } of merge?.files ?? []) {
    for (const { path: source, reason } of skipped) output.warn(`${path} is without ${source}: ${reason}`);
  }
  if (merge?.state !== 'failed') return;
  throw new VitrineError('BENCH_FAILED', `${profile}: merging its files failed: ${merge.error ?? 'no reason given'}`);
}

/** Of a profile by stage: prefill ends with the prompts, however many steps were planned for it. */
function holdsAllDecodeSteps({ files, ended_by: endedBy }: ProfileReport, planned: number): boolean {
  const stages = new Set(files.map(({ stage }) => stage));
  const decode = files.filter(({ stage }) => stage === 'DECODE');
  return endedBy === 'stop' && decode.length > 0 && decode.every(({ steps }) => steps * stages.size >= planned);
}

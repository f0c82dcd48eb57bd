// Profiles of a benchmark run: started before the first request, stopped after the last, at one server or at the servers
// of one half of a prefill-decode pair. Troubles are warnings: the run is what was asked for.
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { toError } from '../../util/errors.js';
import type { HttpTarget } from '../http/http-client.js';
import { checkAddress } from '../http/target.js';
import { ProfileClient } from '../profile/profile-client.js';
import { describeProgress, isUnderWay, type ProfileReport } from '../profile/profile-report.js';
import { printReport } from '../profile/profile-run.js';
import { type ProfileSettings, profileBody } from '../profile/profile-settings.js';
import { howToAsk, howToEnd, waitForProfile } from '../profile/wait-for-profile.js';
import { hideCredentials } from '../results/secrets.js';
import type { Output } from '../terminal/output.js';
import { pythonRepr } from './results/python-repr.js';

const STEPS_BY_STAGE = 5;
const LONGEST_WAIT_SECONDS = 600;
/** The user has interrupted and will not wait for long. */
const CANCEL_MS = 1000;

export interface ProfilerDeps {
  readonly output: Output;
  readonly interrupt: AbortSignal;
}

interface Target {
  /** ` for Prefill-0 worker at http://…`; '' for the server under test. */
  readonly label: string;
  readonly client: ProfileClient;
  isStarted: boolean;
  report: ProfileReport | undefined;
}

export class ServingProfiler {
  readonly #settings: ProfileSettings;
  readonly #targets: readonly Target[];
  readonly #deps: ProfilerDeps;

  private constructor(settings: ProfileSettings, targets: readonly Target[], deps: ProfilerDeps) {
    this.#settings = settings;
    this.#targets = targets;
    this.#deps = deps;
  }

  /**
   * undefined where nothing is to be profiled. Errors: INVALID_OPTION. `target`: the server under test; the others get
   * the same headers.
   */
  static create(options: BenchServingOptions, target: HttpTarget, deps: ProfilerDeps): ServingProfiler | undefined {
    if (!options.profile) return undefined;
    const workers = options.pdSeparated ? pdWorkers(options) : [{ label: '', baseUrl: target.baseUrl }];
    if (workers.length === 0) {
      deps.output.warn('PD separated mode requires --profile-prefill-url or --profile-decode-url');
      return undefined;
    }
    const targets = workers.map(({ label, baseUrl }) => ({
      ...{ label, client: new ProfileClient({ ...target, baseUrl }), isStarted: false, report: undefined },
    }));
    return new ServingProfiler(settingsOf(options), targets, deps);
  }

  async start(): Promise<void> {
    const { output, interrupt } = this.#deps;
    output.print('Starting profiler...');
    for (const target of this.#targets) {
      if (interrupt.aborted) return;
      const { label, client } = target;
      const url = pythonRepr(`${client.baseUrl}/start_profile`);
      output.print(`async_request_profile api_url=${url} body=${pythonRepr(profileBody(this.#settings))}`);
      try {
        target.report = await client.start(this.#settings, interrupt);
        target.isStarted = true;
        output.print(`Profiler started${label}`);
      } catch (thrown) {
        if (interrupt.aborted) await cancelStart(client);
        else output.warn(`Failed to start profiler${label}: ${toError(thrown).message}`);
      }
    }
  }

  /** Ends what was started without an end of its own, and prints the files where the servers name them. */
  async stop(): Promise<void> {
    const { output, interrupt } = this.#deps;
    const started = this.#targets.filter(({ isStarted }) => isStarted);
    // Steps that are counted end by themselves; a stop would fail where they have.
    const sendsStop = this.#settings.numSteps === undefined;
    if (sendsStop && started.length > 0) output.print('Stopping profiler...');
    for (const target of started) {
      const { label, client } = target;
      try {
        const { report } = target;
        // An interrupted run has no steps to come.
        if (sendsStop || (interrupt.aborted && report !== undefined)) {
          target.report = report === undefined ? await client.stop() : await client.endReported(report);
          output.print(`Profiler stopped${label}`);
        } else if (report !== undefined) {
          target.report = await client.status(report.profile_id);
        }
        if (target.report !== undefined) await this.#tell(client, target.report);
      } catch (thrown) {
        output.warn(`${sendsStop ? 'Failed to stop profiler' : 'Profiler'}${label}: ${toError(thrown).message}`);
      }
    }
  }

  /** Closes idle connections. */
  close(): void {
    for (const { client } of this.#targets) client.close();
  }

  async #tell(client: ProfileClient, report: ProfileReport): Promise<void> {
    const { output, interrupt: signal } = this.#deps;
    if (isUnderWay(report)) {
      // Fewer steps were run than shall be recorded: the profile waits for those of somebody else.
      const { baseUrl } = client;
      const progress = `Profile ${report.profile_id} is still ${describeProgress(report)}`;
      output.warn(`${progress}: ${howToEnd(baseUrl)}, and ${howToAsk(baseUrl, report)}`);
      return;
    }
    const notice = { update: () => {}, end: () => {} };
    printReport(await waitForProfile(client, report, { signal, notice, timeoutSeconds: LONGEST_WAIT_SECONDS }), output);
  }
}

/** The order to start was cut off, but the server may have it all the same. */
async function cancelStart(client: ProfileClient): Promise<void> {
  await Promise.race([client.stop().catch(() => {}), sleep(CANCEL_MS, undefined, { ref: false })]);
}

function pdWorkers({ profilePrefillUrl: prefill = [], profileDecodeUrl: decode = [] }: BenchServingOptions) {
  const workers = (kind: string, flag: string, urls: readonly string[]) =>
    urls.map((url, i) => {
      const baseUrl = checkAddress(flag, url);
      return { label: ` for ${kind}-${i} worker at ${hideCredentials(baseUrl)}`, baseUrl };
    });
  return [
    ...workers('Prefill', '--profile-prefill-url', prefill),
    ...workers('Decode', '--profile-decode-url', decode),
  ];
}

function settingsOf(options: BenchServingOptions): ProfileSettings {
  const { profileByStage, profileOutputDir: directory } = options;
  return {
    // Made absolute, except what the server expands: its working directory is another one.
    outputDir: directory === undefined || directory.startsWith('~') ? directory : resolve(directory),
    numSteps: options.profileNumSteps ?? (profileByStage ? STEPS_BY_STAGE : undefined),
    startStep: options.profileStartStep,
    activities: options.profileActivities ?? ['CPU', 'GPU'],
    profileByStage,
    profileStages: profileByStage ? options.profileStages : undefined,
    profilePrefix: options.profilePrefix,
  };
}

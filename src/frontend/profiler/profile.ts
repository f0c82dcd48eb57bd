// One profile as the front end knows it: what each rank said of it last, and how its merge stands.
import {
  PROFILE_STAGES,
  type ProfileFile,
  type ProfileStage,
  type ProfileState,
  type RankProfile,
} from '../../messages/profile.js';
import { mergeTracesInBackground } from '../../trace/merge/merge-in-background.js';
import type { MergeResult } from '../../trace/merge/trace-merger.js';
import { waitForTraceFiles } from '../../trace/merge/wait-for-traces.js';
import { toError, type VitrineError } from '../../util/errors.js';
import type { RequestedProfile } from './profile-request.js';
import { isFinal, type MergedTrace, type ProfileMerge, type ProfileStatus } from './profile-status.js';

const ORDER: readonly ProfileState[] = ['armed', 'recording', 'flushing', 'done', 'failed'];

/** How long files of other hosts may take to be seen here. */
const FILES_LATE_SECONDS = 60;

export class Profile {
  readonly id: string;
  readonly request: RequestedProfile;
  /** Resolves when the state is final; the merge may still be running. */
  readonly ended: Promise<void>;
  /** Resolves when there is nothing more to wait for. */
  merged: Promise<void> = Promise.resolve();
  /** At least one; the first answers for the steps, which all ranks have in common. */
  readonly #ranks: RankProfile[];
  #merge: ProfileMerge | null;
  #end!: () => void;

  constructor(id: string, request: RequestedProfile, ranks: number) {
    this.id = id;
    this.request = request;
    const { numSteps, stages } = request;
    const unheard: RankProfile = {
      profileId: id,
      state: 'armed',
      forwardSteps: 0,
      plannedSteps: numSteps === null ? null : numSteps * (stages?.length ?? 1),
      recordedSteps: 0,
      endedBy: null,
      warnings: [],
      files: [],
      error: null,
    };
    this.#ranks = new Array<RankProfile>(ranks).fill(unheard);
    this.#merge = request.mergeProfiles ? { state: 'waiting', files: [], error: null } : null;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Of the rank that is least far; `failed` when all are through and one has failed. */
  get state(): ProfileState {
    const states = this.#ranks.map(({ state }) => state);
    if (states.every(isFinal)) return states.includes('failed') ? 'failed' : 'done';
    return ORDER[Math.min(...states.map((state) => ORDER.indexOf(state)))]!;
  }

  get files(): readonly ProfileFile[] {
    return this.#ranks.flatMap(({ files }) => files);
  }

  /** Takes in what a rank says. */
  hear(rank: number, account: RankProfile): void {
    if (isFinal(this.#ranks[rank]!.state)) return;
    this.#ranks[rank] = account;
    if (isFinal(this.state)) this.#end();
  }

  /** The rank will say nothing more. */
  lose(rank: number, { code, message, param }: VitrineError): void {
    const error = { code, message, param: param ?? null };
    this.hear(rank, { ...this.#ranks[rank]!, state: 'failed', endedBy: 'error', error });
  }

  /** Merges the trace files of all ranks. A failure is told by the status alone. */
  async merge(): Promise<void> {
    const inputs = this.files.filter(({ kind }) => kind === 'trace').map(({ path }) => path);
    if (this.state === 'failed') {
      this.#merge = { state: 'failed', files: [], error: 'The profile has failed.' };
      return;
    }
    if (inputs.length === 0) {
      this.#merge = { state: 'done', files: [], error: null };
      return;
    }
    this.#merge = { state: 'running', files: [], error: null };
    try {
      // The ranks have written them; on a file system that several hosts share they may still be on their way. A file that
      // does not come is reported by the merge as left out.
      await waitForTraceFiles({ paths: inputs, timeoutSeconds: FILES_LATE_SECONDS });
      const results = await mergeTracesInBackground({ inputs, profileId: this.id });
      this.#merge = { state: 'done', files: results.map(toMergedTrace), error: null };
    } catch (thrown) {
      this.#merge = { state: 'failed', files: [], error: toError(thrown).message };
    }
  }

  status(): ProfileStatus {
    const [first] = this.#ranks;
    const { plannedSteps, recordedSteps, forwardSteps, endedBy } = first!;
    const { files } = this;
    const firstSteps = files.flatMap(({ firstStep }) => firstStep ?? []);
    const lastSteps = files.flatMap(({ lastStep }) => lastStep ?? []);
    return {
      profileId: this.id,
      state: this.state,
      activities: this.request.activities,
      outputDir: this.request.outputDir,
      plannedSteps,
      recordedSteps,
      firstStep: firstSteps.length === 0 ? null : Math.min(...firstSteps),
      lastStep: lastSteps.length === 0 ? null : Math.max(...lastSteps),
      endedBy,
      warnings: [...new Set(this.#ranks.flatMap(({ warnings }) => warnings))],
      files,
      merge: this.#merge,
      error: this.#ranks.find(({ error }) => error !== null)?.error ?? null,
      forwardSteps,
    };
  }
}

function toMergedTrace({ output, stage, events, sources, skipped }: MergeResult): MergedTrace {
  const known = PROFILE_STAGES.find((name) => name === stage) satisfies ProfileStage | undefined;
  return { path: output, stage: known ?? null, events, sources: sources.map(({ path }) => path), skipped };
}

// Owns the profiles of a server: makes their ids, keeps their calls in order, follows what the ranks say of them and has
// their files merged. Runs on the front end's event loop; the recording is done by the ranks.
import type { ProfileState, RankProfile } from '../../messages/profile.js';
import { type ErrorCode, toError, VitrineError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import type { SchedulerClient } from '../scheduler-client.js';
import type { FrontEndTracer } from './front-end-tracer.js';
import { Profile } from './profile.js';
import type { ProfileEnvironment } from './profile-environment.js';
import { ProfileIdSource } from './profile-id.js';
import type { RequestedProfile } from './profile-request.js';
import { isFinal, type ProfileMerge, type ProfileStatus } from './profile-status.js';

export interface ProfileManagerDeps {
  /** One a rank, at least one. */
  readonly schedulers: readonly SchedulerClient[];
  readonly environment: ProfileEnvironment;
  /** Records while the first rank does; its spans go there. */
  readonly tracer: FrontEndTracer;
  readonly log: Log;
}

/** Finished profiles that can still be asked for. */
const KEPT_PROFILES = 10;

export class ProfileManager {
  readonly environment: ProfileEnvironment;
  readonly #schedulers: readonly SchedulerClient[];
  readonly #tracer: FrontEndTracer;
  readonly #log: Log;
  readonly #ids = new ProfileIdSource();
  /** The one that starts or is under way. */
  #current: Profile | null = null;
  /** Oldest first. */
  #finished: Profile[] = [];
  #lastCall: Promise<unknown> = Promise.resolve();
  #closing = false;

  constructor({ schedulers, environment, tracer, log }: ProfileManagerDeps) {
    this.environment = environment;
    this.#schedulers = schedulers;
    this.#tracer = tracer;
    this.#log = log;
    schedulers.forEach((scheduler, rank) => {
      scheduler.onProfileUpdate((account) => this.#hear(rank, account));
      void scheduler.gone.then((failure) => this.#lose(rank, failure));
    });
  }

  /**
   * Resolves when the profile is armed or records. Errors: PROFILE_CONFLICT where one is under way, TRACE_NOT_WRITTEN
   * where its files cannot be made, INVALID_REQUEST for what the ranks cannot record, ENGINE_FAILED.
   */
  start(request: RequestedProfile): Promise<ProfileStatus> {
    return this.#inOrder(async () => {
      if (this.#current !== null) throw underWay(this.#current);
      const { mergeProfiles: _, ...order } = request;
      const profile = new Profile(this.#ids.next(), request, this.#schedulers.length);
      this.#current = profile;
      const starts = await Promise.allSettled(
        this.#schedulers.map((scheduler) => scheduler.startProfile({ profileId: profile.id, ...order })),
      );
      const refusal = starts.find((start) => start.status === 'rejected');
      if (refusal !== undefined) {
        this.#current = null;
        this.#tracer.stop();
        const started = this.#schedulers.filter((_, rank) => starts[rank]!.status === 'fulfilled');
        await Promise.allSettled(started.map((scheduler) => scheduler.stopProfile()));
        throw refusal.reason;
      }
      this.#log.info(
        `Profiling starts. Traces will be saved to: ${request.outputDir} (with profile id: ${profile.id})`,
      );
      return profile.status();
    });
  }

  /**
   * Ends the profile that is under way; one that waits for its first step is called off. Resolves when its files, the
   * merged ones too, are complete. Errors: PROFILE_CONFLICT where none is under way, TRACE_NOT_WRITTEN, ENGINE_FAILED.
   */
  async stop(): Promise<ProfileStatus> {
    const profile = await this.#inOrder(async () => {
      const current = this.#current;
      if (current === null) {
        throw new VitrineError('PROFILE_CONFLICT', 'Profiling is not in progress. Call /start_profile first.');
      }
      // One that completes its files by itself is waited for, nothing more.
      if (current.state !== 'flushing') await Promise.all(this.#schedulers.map((_, rank) => this.#stop(current, rank)));
      return current;
    });
    await profile.ended; // another start is refused meanwhile, not kept waiting
    await profile.merged;
    const status = profile.status();
    if (status.error === null) return status;
    const { code, message, param } = status.error;
    throw new VitrineError(code as ErrorCode, message, param === null ? {} : { param });
  }

  /**
   * The profile of that id, or the one that is under way, or the one that ended last; null where there is none. A status
   * is kept for the last ten that ended.
   */
  async status(profileId?: string): Promise<ProfileStatus | null> {
    const profiles = this.#current === null ? this.#finished : [...this.#finished, this.#current];
    const profile = profileId === undefined ? profiles.at(-1) : profiles.find(({ id }) => id === profileId);
    if (profile === undefined) return null;
    const state = await this.#schedulers[0]!.state().catch(() => null); // of a dead engine, what was last heard
    const status = profile.status();
    if (state === null) return status;
    const { forwardSteps } = state;
    // Updates come with changes of state only; the steps in between are asked for.
    const now = state.profile?.profileId === status.profileId ? state.profile.recordedSteps : 0;
    return { ...status, forwardSteps, recordedSteps: Math.max(status.recordedSteps, now) };
  }

  /** Sends what the front end has recorded, before the channels close. What the ranks record, they complete themselves. */
  close(): void {
    this.#tracer.stop();
    this.#closing = true;
  }

  /** A profile is under way or being started. */
  get isBusy(): boolean {
    return this.#current !== null;
  }

  /** Runs calls one after the other, whatever becomes of them. */
  #inOrder<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#lastCall.then(call);
    this.#lastCall = result.catch(() => {});
    return result;
  }

  async #stop(profile: Profile, rank: number): Promise<void> {
    try {
      await this.#schedulers[rank]!.stopProfile();
    } catch (thrown) {
      // No effect on one that has just ended by itself, which is why the rank finds nothing to stop.
      profile.lose(
        rank,
        thrown instanceof VitrineError ? thrown : new VitrineError('INTERNAL', toError(thrown).message),
      );
      this.#settle(profile);
    }
  }

  #hear(rank: number, account: RankProfile): void {
    const profile = this.#current;
    if (profile === null || account.profileId !== profile.id) return;
    const before = profile.state;
    profile.hear(rank, account);
    if (rank === 0) this.#trace(profile, account.state);
    const after = profile.state;
    if (after === 'flushing' && before !== 'flushing') this.#log.info('Stop profiling...');
    this.#settle(profile);
  }

  #lose(rank: number, failure: VitrineError): void {
    const profile = this.#current;
    if (profile === null) return;
    profile.lose(rank, failure);
    if (rank === 0) this.#tracer.stop();
    this.#settle(profile);
  }

  /** Between two windows of a profile the front end goes on. */
  #trace({ id, request }: Profile, state: ProfileState): void {
    if (!request.activities.includes('CPU')) return;
    if (state === 'recording') {
      this.#tracer.start({ profileId: id, withStack: request.withStack, sink: this.#schedulers[0]! });
    } else if (state !== 'armed') this.#tracer.stop();
  }

  /** Puts a profile that has ended among the finished ones, once. */
  #settle(profile: Profile): void {
    if (!isFinal(profile.state) || this.#current !== profile) return;
    this.#current = null;
    this.#finished = [...this.#finished, profile].slice(-KEPT_PROFILES);
    profile.merged = this.#complete(profile);
  }

  async #complete(profile: Profile): Promise<void> {
    const { id, request } = profile;
    if (request.mergeProfiles) await profile.merge();
    const { error, files, merge } = profile.status();
    if (error !== null && this.#closing) {
      this.#log.info(
        `The server ends while it profiles: what is recorded goes to ${request.outputDir} (profile id: ${id})`,
      );
      return;
    }
    if (error !== null) {
      this.#log.error(`Profiling failed: ${error.message} (profile id: ${id})`);
      return;
    }
    if (files.length === 0) {
      this.#log.info(`Profiling ended before its first step: nothing was written (profile id: ${id})`);
      return;
    }
    this.#log.info(`Profiling done. Traces are saved to: ${request.outputDir}${describeMerge(merge)}`);
  }
}

function underWay({ id, state }: Profile): VitrineError {
  const message =
    state === 'flushing'
      ? `Profiling is already in progress: profile ${id} is completing its files; /profile_status tells when it is done.`
      : `Profiling is already in progress: profile ${id} is ${state}. Call /stop_profile first.`;
  return new VitrineError('PROFILE_CONFLICT', message);
}

/** SGLang's words. */
function describeMerge(merge: ProfileMerge | null): string {
  if (merge === null) return '';
  if (merge.error !== null) return ` Merge failed: ${merge.error}`;
  return merge.files
    .map(({ path, events, sources }) => ` Merged trace: ${path} (Events: ${events}, Files: ${sources.length})`)
    .join('');
}

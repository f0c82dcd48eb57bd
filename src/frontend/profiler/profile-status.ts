// What is told about a profile to those who asked for it, over all ranks.
import type {
  ProfileActivity,
  ProfileEnd,
  ProfileFile,
  ProfileStage,
  ProfileState,
  RankProfile,
} from '../../messages/profile.js';

export interface MergedTrace {
  readonly path: string;
  /** null: not by stage. */
  readonly stage: ProfileStage | null;
  readonly events: number;
  /** Paths of the files in it. */
  readonly sources: readonly string[];
  /** Files that could not be merged, and why. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

export interface ProfileMerge {
  /** waiting: for the files of all ranks. */
  readonly state: 'waiting' | 'running' | 'done' | 'failed';
  readonly files: readonly MergedTrace[];
  /** null unless failed. The profile and its own files are none the worse. */
  readonly error: string | null;
}

export interface ProfileStatus {
  /** Seconds since the epoch as text; begins the files' names, after the prefix. */
  readonly profileId: string;
  /** `failed` where any rank's profile has failed. */
  readonly state: ProfileState;
  readonly activities: readonly ProfileActivity[];
  /** Absolute. */
  readonly outputDir: string;
  /** Over all windows; null: until stopped. */
  readonly plannedSteps: number | null;
  /** Forward steps in the files, as of the last change of state. */
  readonly recordedSteps: number;
  /** Numbers of the first and the last recorded step; null until files with steps are complete. */
  readonly firstStep: number | null;
  readonly lastStep: number | null;
  /** null while it records. */
  readonly endedBy: ProfileEnd | null;
  /** What was asked for and is not recorded, and why; one line each, of all ranks. */
  readonly warnings: readonly string[];
  /** Complete files of all ranks; empty until the state is `done`. */
  readonly files: readonly ProfileFile[];
  /** null: not asked for. */
  readonly merge: ProfileMerge | null;
  readonly error: RankProfile['error'];
  /** Forward steps since the start of the server, as of now or of the last change of state. */
  readonly forwardSteps: number;
}

/** Nothing more will happen to it but its merge. */
export function isFinal(state: ProfileState): boolean {
  return state === 'done' || state === 'failed';
}

// What front end and rank tell each other about profiles. Plain data: it crosses process borders.

/** `GPU` records what a GPU does; where the model runs on the CPU it adds nothing. `MEM` writes a memory snapshot file. */
export const PROFILE_ACTIVITIES = ['CPU', 'GPU', 'MEM', 'CUDA_PROFILER'] as const;
export type ProfileActivity = (typeof PROFILE_ACTIVITIES)[number];

/** Windows of a profile by stage. Steps with prompt tokens (extend and mixed) are EXTEND, all others DECODE. */
export const PROFILE_STAGES = ['EXTEND', 'DECODE'] as const;
export type ProfileStage = (typeof PROFILE_STAGES)[number];

/** A validated order to profile, the same for every rank. */
export interface ProfileRequest {
  /** Seconds since the epoch as text, as in SGLang; part of file names. */
  readonly profileId: string;
  /** Absolute; created where missing. */
  readonly outputDir: string;
  /** Start of the file names; '' for none. */
  readonly prefix: string;
  /** At least one. */
  readonly activities: readonly ProfileActivity[];
  /** First step to record, counted since the server's start from 1; null: the next one. */
  readonly startStep: number | null;
  /** Steps to let pass before the first one to record; at most one of it and `startStep` is given. */
  readonly startIn: number | null;
  /** Steps to record, by stage each; null: until stopped. */
  readonly numSteps: number | null;
  /** One window (and file) a stage, each with `numSteps` steps of its own; null: one window of all steps. */
  readonly stages: readonly ProfileStage[] | null;
  /** Sample JavaScript stacks. */
  readonly withStack: boolean;
  readonly recordShapes: boolean;
  /** Recording ends after so many seconds, also where no step comes. */
  readonly maxSeconds: number;
  /** A file ends when its compressed size, estimated while it is recorded, reaches it; what is beyond is dropped. */
  readonly maxBytes: number;
}

/** armed: waits for its first step. flushing: all steps are recorded, the files are being completed. */
export type ProfileState = 'armed' | 'recording' | 'flushing' | 'done' | 'failed';

/** Why recording ended. */
export type ProfileEnd = 'num_steps' | 'stop' | 'max_seconds' | 'max_bytes' | 'shutdown' | 'error';

export interface ProfileFile {
  readonly path: string;
  readonly kind: 'trace' | 'memory';
  /** null: not by stage. */
  readonly stage: ProfileStage | null;
  /** Forward steps recorded in it, and their numbers; 0 and null where none was. */
  readonly steps: number;
  readonly firstStep: number | null;
  readonly lastStep: number | null;
  /** Compressed, and of text. */
  readonly fileBytes: number;
  readonly textBytes: number;
  readonly events: number;
  readonly droppedRecords: number;
}

/** One rank's account of a profile. */
export interface RankProfile {
  readonly profileId: string;
  readonly state: ProfileState;
  /** Forward steps submitted since the start of the server when this was said. */
  readonly forwardSteps: number;
  /** Over all windows; null: until stopped. */
  readonly plannedSteps: number | null;
  readonly recordedSteps: number;
  /** null while it records. */
  readonly endedBy: ProfileEnd | null;
  /** What was asked for and is not recorded, and why; one line each. */
  readonly warnings: readonly string[];
  /** Complete files; empty until the state is `done`. */
  readonly files: readonly ProfileFile[];
  readonly error: { readonly code: string; readonly message: string; readonly param: string | null } | null;
}

/** front end → scheduler */
export type ProfileRequestMessage =
  /** Answered with `profile-result` once the files are open and the profile is armed or records, or with the reason why not. */
  | { readonly kind: 'start-profile'; readonly id: number; readonly request: ProfileRequest }
  /** Answered with `profile-result` when the files are complete. */
  | { readonly kind: 'stop-profile'; readonly id: number }
  /** Span records of the front end (trace/record/span-source.ts), for the files of the profile. */
  | {
      readonly kind: 'front-end-spans';
      readonly profileId: string;
      /** Of the front-end process: the rank's own where both are in one process. */
      readonly pid: number;
      readonly processName: string;
      readonly names: readonly string[];
      readonly threads: readonly { readonly tid: number; readonly name: string; readonly sortIndex: number }[];
      readonly payload: ArrayBuffer;
    }
  /**
   * The front end has no more for this profile. The rank waits for it, but not long, before it completes its files.
   * `stacks`: its sampled JavaScript stacks (`profile` is a CpuProfile of trace/); null where none were sampled.
   */
  | {
      readonly kind: 'front-end-end';
      readonly profileId: string;
      readonly pid: number;
      readonly stacks: {
        readonly thread: { readonly tid: number; readonly name: string; readonly sortIndex: number };
        readonly profile: unknown;
      } | null;
    };

/** scheduler → front end */
export type ProfileReplyMessage =
  | {
      readonly kind: 'profile-result';
      readonly id: number;
      readonly profile: RankProfile | null;
      /** Why nothing was done; null with a profile. */
      readonly error: { readonly code: string; readonly message: string; readonly param: string | null } | null;
    }
  /**
   * The profile has changed its state. At `recording` the front end begins to record, with the process identity that its
   * spans shall have; at `flushing` (or `done`, `failed`) it stops and sends what it has.
   */
  | { readonly kind: 'profile-update'; readonly profile: RankProfile };

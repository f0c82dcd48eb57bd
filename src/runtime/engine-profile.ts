// How users of the library ask for a profile, and its translation into the front end's terms.
import { FieldReader } from '../frontend/field-reader.js';
import type { ProfileEnvironment } from '../frontend/profiler/profile-environment.js';
import { parseProfileRequest, type RequestedProfile } from '../frontend/profiler/profile-request.js';
import type { ProfileActivity } from '../messages/profile.js';
import { VitrineError } from '../util/errors.js';

/** What to record, and for how long. The same as the fields of `/start_profile`. */
export interface ProfileOptions {
  /** Created where missing; `~` is the home directory. Default: SGLANG_TORCH_PROFILER_DIR, else /tmp. */
  readonly outputDir?: string;
  /** First forward step to record, counted from 1 since the launch. Default, and 0: the next one. */
  readonly startStep?: number;
  /** Forward steps to let pass before the first one to record; not together with `startStep`. */
  readonly startIn?: number;
  /** Forward steps to record, by stage each. Default, and 0: until `stopProfile`. */
  readonly numSteps?: number;
  /** Default: CPU and GPU. */
  readonly activities?: readonly ProfileActivity[];
  /** A file each for steps with prompt tokens and for pure decode steps. Default false. */
  readonly profileByStage?: boolean;
  /** Only these stages. Default: both. */
  readonly profileStages?: readonly ('prefill' | 'decode')[];
  /** Sample JavaScript stacks. Default true; SGLANG_PROFILE_WITH_STACK=false wins. */
  readonly withStack?: boolean;
  /** Write the shapes of ops. Default true; SGLANG_PROFILE_RECORD_SHAPES=false wins. */
  readonly recordShapes?: boolean;
  /** Merge the trace files of all ranks into one a stage. Default false. */
  readonly mergeProfiles?: boolean;
  /** Start of the file names. */
  readonly profilePrefix?: string;
  /** Recording ends after so many seconds, also where no step comes. Default 600. */
  readonly maxSeconds?: number;
  /** A file ends when its compressed size, estimated while it is recorded, reaches it. Default 2 GiB. */
  readonly maxBytes?: number;
}

const FIELDS: Readonly<Record<keyof ProfileOptions, string>> = {
  outputDir: 'output_dir',
  startStep: 'start_step',
  startIn: 'start_in',
  numSteps: 'num_steps',
  activities: 'activities',
  profileByStage: 'profile_by_stage',
  profileStages: 'profile_stages',
  withStack: 'with_stack',
  recordShapes: 'record_shapes',
  mergeProfiles: 'merge_profiles',
  profilePrefix: 'profile_prefix',
  maxSeconds: 'max_seconds',
  maxBytes: 'max_bytes',
};
const OPTION_NAMES = new Map(Object.entries(FIELDS).map(([name, field]) => [field, name]));

/** Error: INVALID_REQUEST, naming the option as the caller wrote it. */
export function toRequestedProfile(options: ProfileOptions, environment: ProfileEnvironment): RequestedProfile {
  const raw: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name as keyof ProfileOptions] : undefined;
    if (field === undefined) {
      throw new VitrineError('INVALID_REQUEST', `${name} is not an option of a profile.`, { param: name });
    }
    if (value !== undefined) raw[field] = value;
  }
  return parseProfileRequest(new FieldReader(raw, (key) => OPTION_NAMES.get(key) ?? key), environment);
}

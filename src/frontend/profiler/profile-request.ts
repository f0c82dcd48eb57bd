// The fields of a call for a profile → a checked order. Names, defaults and coercions are SGLang's (`/start_profile`),
// with start_in, max_seconds and max_bytes of our own.
import { isAbsolute, join, resolve } from 'node:path';
import {
  PROFILE_ACTIVITIES,
  type ProfileActivity,
  type ProfileRequest,
  type ProfileStage,
} from '../../messages/profile.js';
import { traceFileName } from '../../trace/trace-file-name.js';
import type { FieldReader } from '../field-reader.js';
import type { ProfileEnvironment } from './profile-environment.js';

/** All of a profile but its id. */
export interface RequestedProfile extends Omit<ProfileRequest, 'profileId'> {
  /** Merge the trace files of all ranks when they are complete, one merged file a stage. */
  readonly mergeProfiles: boolean;
}

/** What a timer can count. */
const MAX_SECONDS = 2_147_483;
/** Ten minutes and 2 GiB: far more than anybody looks at, and less than what a forgotten profile fills a disk with. */
const DEFAULT_MAX_SECONDS = 600;
const DEFAULT_MAX_BYTES = 2 * 2 ** 30;
const DEFAULT_ACTIVITIES: readonly ProfileActivity[] = ['CPU', 'GPU'];
/** SGLang's words in any case, and the endings of file names. */
const STAGES: Readonly<Record<string, ProfileStage>> = { prefill: 'EXTEND', extend: 'EXTEND', decode: 'DECODE' };

/** Unknown fields are ignored, as by SGLang. Error: INVALID_REQUEST naming the field, what was expected and what came. */
export function parseProfileRequest(fields: FieldReader, environment: ProfileEnvironment): RequestedProfile {
  if (fields.raw('profile_id') !== undefined) {
    throw fields.invalid('profile_id', 'cannot be set: the server makes it and tells it (Accept: application/json)');
  }
  const startStep = readSteps(fields, 'start_step');
  const startIn = fields.coercedInteger('start_in', { min: 0 }) ?? null;
  if (startStep !== null && startIn !== null) {
    throw fields.invalid('start_in', `and ${fields.label('start_step')} both say when to begin: give one of them`);
  }
  return {
    outputDir: readDirectory(fields, environment),
    prefix: readPrefix(fields),
    activities: readActivities(fields),
    startStep,
    startIn,
    numSteps: readSteps(fields, 'num_steps'),
    stages: readStages(fields),
    withStack: (fields.coercedBoolean('with_stack') ?? true) && environment.withStack,
    recordShapes: (fields.coercedBoolean('record_shapes') ?? true) && environment.recordShapes,
    maxSeconds:
      fields.coercedNumber('max_seconds', { min: 0, aboveMin: true, max: MAX_SECONDS }) ?? DEFAULT_MAX_SECONDS,
    maxBytes: fields.coercedInteger('max_bytes', { min: 1 }) ?? DEFAULT_MAX_BYTES,
    mergeProfiles: fields.coercedBoolean('merge_profiles') ?? false,
  };
}

/** 0 is none. */
function readSteps(fields: FieldReader, key: string): number | null {
  return fields.coercedInteger(key, { min: 0, max: Number.MAX_SAFE_INTEGER }) || null;
}

function readDirectory(fields: FieldReader, environment: ProfileEnvironment): string {
  const given = fields.string('output_dir') || environment.outputDir;
  if (given.includes('\0'))
    throw fields.invalid('output_dir', 'must be the path of a directory, without NUL characters');
  const { homeDir, workingDir } = environment;
  if (given === '~' || given.startsWith('~/')) return join(homeDir, given.slice(1));
  return isAbsolute(given) ? given : resolve(workingDir, given);
}

function readPrefix(fields: FieldReader): string {
  const prefix = fields.string('profile_prefix') ?? '';
  traceFileName({ prefix, profileId: '0', ranks: {} }); // refuses what no file can be called
  return prefix;
}

function readActivities(fields: FieldReader): readonly ProfileActivity[] {
  const names = fields.strings('activities') ?? DEFAULT_ACTIVITIES;
  const known = PROFILE_ACTIVITIES.join(', ');
  if (names.length === 0) throw fields.invalid('activities', `must name at least one of ${known}; the list is empty`);
  const unknown = names.find((name) => !PROFILE_ACTIVITIES.includes(name as ProfileActivity));
  if (unknown !== undefined) {
    throw fields.invalid('activities', `must be out of ${known}, got ${JSON.stringify(unknown.slice(0, 64))}`);
  }
  return [...new Set(names)] as ProfileActivity[];
}

function readStages(fields: FieldReader): readonly ProfileStage[] | null {
  if (fields.isNull('profile_by_stage')) throw fields.shape('profile_by_stage', 'must be true or false', null);
  const byStage = fields.coercedBoolean('profile_by_stage') ?? false;
  const names = fields.strings('profile_stages');
  if (names === undefined) return byStage ? ['EXTEND', 'DECODE'] : null;
  if (!byStage) throw fields.invalid('profile_stages', `needs ${fields.label('profile_by_stage')} true`);
  if (names.length === 0)
    throw fields.invalid('profile_stages', 'must name prefill, decode or both; the list is empty');
  const stages = names.map((name) => {
    const word = name.toLowerCase();
    if (Object.hasOwn(STAGES, word)) return STAGES[word]!;
    throw fields.invalid(
      'profile_stages',
      `must be out of prefill (or extend) and decode, got ${JSON.stringify(name)}`,
    );
  });
  return [...new Set(stages)];
}

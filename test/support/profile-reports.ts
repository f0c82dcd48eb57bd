// Reports of a profile as a Vitrine server sends them.
import type { ProfileReport, ReportedFile } from '#vitrine/bench/profile/profile-report.js';

export const PROFILE_ID = '1769071195.5';

/** A profile that has just been ordered, with changes. */
export function profileReport(changes: Partial<ProfileReport> & Record<string, unknown> = {}): ProfileReport {
  return {
    profile_id: PROFILE_ID,
    state: 'armed',
    output_dir: '/profiles',
    planned_steps: 5,
    recorded_steps: 0,
    ended_by: null,
    files: [],
    merge: null,
    error: null,
    ...changes,
  };
}

export const reportedFile = (changes: Partial<ReportedFile> = {}): ReportedFile => ({
  ...{ path: `/profiles/${PROFILE_ID}-TP-0.trace.json.gz`, kind: 'trace', stage: null, steps: 5, first_step: 11 },
  ...{ last_step: 15, bytes: 12_345, text_bytes: 3_456_789, events: 678, dropped_records: 0 },
  ...changes,
});

/** All steps recorded, everything written. */
export function doneReport(changes: Partial<ProfileReport> = {}): ProfileReport {
  return profileReport({
    state: 'done',
    recorded_steps: 5,
    ended_by: 'num_steps',
    files: [reportedFile()],
    ...changes,
  });
}

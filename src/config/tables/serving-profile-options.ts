// Options of bench-serving that have the server under test record a profile of the run.
import type { Option } from '../option.js';
import { PROFILER_DIR } from '../profiler-directory.js';

const PROFILING = 'Profiling';

export const SERVING_PROFILE_OPTIONS = [
  {
    flag: 'profile',
    key: 'profile',
    type: 'flag',
    default: false,
    help: 'Start the server’s profiler before the run and stop it after; the duration holds neither.',
    group: PROFILING,
  },
  {
    flag: 'profile-activities',
    key: 'profileActivities',
    type: 'strings',
    choices: ['CPU', 'GPU', 'MEM', 'CUDA_PROFILER'],
    help: 'What to record. Default: CPU GPU.',
    group: PROFILING,
  },
  {
    flag: 'profile-num-steps',
    key: 'profileNumSteps',
    type: 'integer',
    min: 1,
    aliases: ['profile-steps'],
    help: 'Forward steps to record; no stop is sent then. Default: all of the run, or 5 of each stage by stage.',
    group: PROFILING,
  },
  {
    flag: 'profile-start-step',
    key: 'profileStartStep',
    type: 'integer',
    min: 1,
    help: 'First forward step to record, counted since the start of the server. Default: the next one.',
    group: PROFILING,
  },
  {
    flag: 'profile-by-stage',
    key: 'profileByStage',
    type: 'flag',
    default: false,
    help: 'Record prefill and decode steps into files of their own.',
    group: PROFILING,
  },
  {
    flag: 'profile-stages',
    key: 'profileStages',
    type: 'strings',
    choices: ['prefill', 'decode'],
    help: 'The stages to record with --profile-by-stage. Default: both.',
    group: PROFILING,
  },
  {
    flag: 'profile-output-dir',
    key: 'profileOutputDir',
    type: 'string',
    env: PROFILER_DIR,
    help: 'Directory of the files, on the server’s machine. Default: the server’s own.',
    group: PROFILING,
  },
  {
    flag: 'profile-prefix',
    key: 'profilePrefix',
    type: 'string',
    help: 'Start of the names of trace files.',
    group: PROFILING,
  },
  {
    flag: 'pd-separated',
    key: 'pdSeparated',
    type: 'flag',
    default: false,
    help: 'Prefill and decode are servers of their own: profile those of --profile-prefill-url or --profile-decode-url.',
    group: PROFILING,
  },
  {
    flag: 'profile-prefill-url',
    key: 'profilePrefillUrl',
    type: 'strings',
    help: 'Addresses of prefill servers to profile, with --pd-separated.',
    group: PROFILING,
  },
  {
    flag: 'profile-decode-url',
    key: 'profileDecodeUrl',
    type: 'strings',
    help: 'Addresses of decode servers to profile, with --pd-separated; not together with prefill servers.',
    group: PROFILING,
  },
] as const satisfies readonly Option[];

// Options of bench-one-batch that record steps of each point.
import type { Option } from '../option.js';

const PROFILING = 'Profiling';

export const ONE_BATCH_PROFILE_OPTIONS = [
  {
    flag: 'profile',
    key: 'profile',
    type: 'flag',
    default: false,
    help: 'Run each point once more after it was timed and record its prefill and a decode step; no result holds that run.',
    group: PROFILING,
  },
  {
    flag: 'profile-activities',
    key: 'profileActivities',
    type: 'strings',
    choices: ['CPU', 'GPU', 'CUDA_PROFILER'],
    help: 'What to record. CUDA_PROFILER opens the capture range of nsys and writes no trace. Default: CPU GPU.',
    group: PROFILING,
  },
  {
    flag: 'profile-stage',
    key: 'profileStage',
    type: 'string',
    choices: ['all', 'prefill', 'decode'],
    help: 'The steps to record. Default: all.',
    group: PROFILING,
  },
  {
    flag: 'profile-start-step',
    key: 'profileStartStep',
    type: 'integer',
    min: 0,
    help: 'First decode step to record, from 0. Default: half the output length, rounded down.',
    group: PROFILING,
  },
  {
    flag: 'profile-steps',
    key: 'profileSteps',
    type: 'integer',
    min: 1,
    help: 'Decode steps to record. Default: 1.',
    group: PROFILING,
  },
  {
    flag: 'profile-record-shapes',
    key: 'profileRecordShapes',
    type: 'flag',
    default: false,
    help: 'Record the shapes of ops, and tell them apart in the table.',
    group: PROFILING,
  },
  {
    flag: 'profile-filename-prefix',
    key: 'profileFilenamePrefix',
    type: 'string',
    aliases: ['profile-prefix'],
    help: 'Start of the names of trace files, which go into SGLANG_TORCH_PROFILER_DIR or /tmp. Default: profile.',
    group: PROFILING,
  },
] as const satisfies readonly Option[];

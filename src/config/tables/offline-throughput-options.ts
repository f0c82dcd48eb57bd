// Options of bench-offline-throughput: all requests of a dataset at once through an engine in this process.
import type { Option, OptionsOf } from '../option.js';
import { PROFILER_DIR } from '../profiler-directory.js';
import { DATASET_OPTIONS } from './dataset-options.js';
import { ROOFLINE_OPTIONS } from './roofline-options.js';
import { SCHEDULER_OPTIONS } from './scheduler-options.js';
import { QUIET_LOG_LEVEL_OPTION, TOKENIZER_PATH_OPTION } from './shared-options.js';

const BENCHMARK = 'Benchmark';
const REQUEST = 'Requests';
const PROFILING = 'Profiling';

export const OFFLINE_THROUGHPUT_OPTIONS = [
  {
    flag: 'backend',
    key: 'backend',
    type: 'string',
    default: 'engine',
    choices: ['engine'],
    refused: { runtime: 'is a server behind the engine: bench-serving measures a server' },
    help: 'The engine in this process; SGLang’s runtime, a server behind it, is bench-serving’s task.',
    group: BENCHMARK,
  },
  {
    flag: 'result-filename',
    key: 'resultFilename',
    type: 'string',
    default: '',
    help: 'JSONL file that the result is appended to. Default: none.',
    group: BENCHMARK,
  },
  {
    flag: 'skip-warmup',
    key: 'skipWarmup',
    type: 'flag',
    default: false,
    help: 'Do not run up to 16 requests of 256 random tokens before the measurement.',
    group: BENCHMARK,
  },
  {
    flag: 'do-not-exit',
    key: 'doNotExit',
    type: 'flag',
    default: false,
    help: 'Stay, with the model loaded, until Ctrl-C or SIGTERM: for tools that end the program themselves (nsys --duration).',
    group: BENCHMARK,
  },
  {
    flag: 'disable-tqdm',
    key: 'disableTqdm',
    type: 'flag',
    default: false,
    help: 'Show no progress bar.',
    group: BENCHMARK,
  },
  ...ROOFLINE_OPTIONS,
  ...DATASET_OPTIONS,
  {
    flag: 'disable-ignore-eos',
    key: 'disableIgnoreEos',
    type: 'flag',
    default: false,
    help: 'Let the model end an answer before its output length.',
    group: REQUEST,
  },
  {
    flag: 'extra-request-body',
    key: 'extraRequestBody',
    type: 'json',
    default: {},
    help: 'JSON object laid over the sampling parameters of every request, e.g. {"temperature": 0.7, "top_p": 0.9}.',
    group: REQUEST,
  },
  {
    flag: 'return-logprob',
    key: 'returnLogprob',
    type: 'flag',
    default: false,
    help: 'Have log-probabilities computed.',
    group: REQUEST,
  },
  {
    flag: 'logprob-start-len',
    key: 'logprobStartLen',
    type: 'integer',
    default: -1,
    min: -1,
    help: 'First prompt position with a log-probability (with --return-logprob); -1: of the output alone.',
    group: REQUEST,
  },
  {
    flag: 'profile',
    key: 'profile',
    type: 'flag',
    default: false,
    help: 'Record the steps of the measured run, which costs some of its speed; needs a folder.',
    group: PROFILING,
  },
  {
    flag: 'profile-output-dir',
    key: 'profileOutputDir',
    type: 'string',
    env: PROFILER_DIR,
    help: 'Folder for trace files.',
    group: PROFILING,
  },
  {
    flag: 'profile-activities',
    key: 'profileActivities',
    type: 'strings',
    choices: ['CPU', 'GPU', 'MEM', 'CUDA_PROFILER'],
    help: 'What to record. CUDA_PROFILER opens the capture range of nsys. Default: CPU GPU.',
    group: PROFILING,
  },
  {
    flag: 'profile-steps',
    key: 'profileSteps',
    type: 'integer',
    min: 1,
    help: 'Forward steps to record, from the first. Default: all.',
    group: PROFILING,
  },
  ...SCHEDULER_OPTIONS,
  TOKENIZER_PATH_OPTION,
  QUIET_LOG_LEVEL_OPTION,
] as const satisfies readonly Option[];

export type OfflineThroughputOptions = OptionsOf<typeof OFFLINE_THROUGHPUT_OPTIONS>;

// Options of send-one: one request to a running server, and how fast it was answered.
import type { Option, OptionsOf } from '../option.js';
import { CLIENT_API_KEY_OPTION, WAIT_TIMEOUT_OPTION } from './shared-options.js';

const SERVER = 'Server';
const REQUEST = 'Request';
const OUTPUT = 'Output';
const PROFILING = 'Profiling';

export const SEND_ONE_OPTIONS = [
  { flag: 'host', key: 'host', type: 'string', default: 'localhost', help: 'Host of the server.', group: SERVER },
  {
    flag: 'port',
    key: 'port',
    type: 'integer',
    default: 30000,
    min: 1,
    max: 65535,
    help: 'Port of the server.',
    group: SERVER,
  },
  CLIENT_API_KEY_OPTION,
  {
    flag: 'prompt',
    key: 'prompt',
    type: 'string',
    help: 'The prompt. Default: one that asks for a FastAPI server.',
    group: REQUEST,
  },
  {
    flag: 'batch-size',
    key: 'batchSize',
    type: 'integer',
    default: 1,
    min: 1,
    help: 'Prompts in the request; what is printed is of the first.',
    group: REQUEST,
  },
  {
    flag: 'different-prompts',
    key: 'differentPrompts',
    type: 'flag',
    default: false,
    help: 'Begin each prompt of the batch with its number, so that none is in the prefix cache for another.',
    group: REQUEST,
  },
  {
    flag: 'max-new-tokens',
    key: 'maxNewTokens',
    type: 'integer',
    default: 512,
    min: 1,
    help: 'Most tokens to generate.',
    group: REQUEST,
  },
  {
    flag: 'temperature',
    key: 'temperature',
    type: 'number',
    default: 0,
    min: 0,
    help: 'Sampling temperature; 0 is greedy.',
    group: REQUEST,
  },
  {
    flag: 'frequency-penalty',
    key: 'frequencyPenalty',
    type: 'number',
    default: 0,
    min: -2,
    max: 2,
    help: 'Subtracted from a token’s logit for each time it was generated.',
    group: REQUEST,
  },
  {
    flag: 'presence-penalty',
    key: 'presencePenalty',
    type: 'number',
    default: 0,
    min: -2,
    max: 2,
    help: 'Subtracted from a token’s logit once it was generated.',
    group: REQUEST,
  },
  { flag: 'seed', key: 'seed', type: 'integer', min: 0, help: 'Sampling seed. Default: the server’s.', group: REQUEST },
  {
    flag: 'json',
    key: 'json',
    type: 'flag',
    default: false,
    help: 'Ask about the capital of France, in JSON by any schema; servers without grammars refuse it.',
    group: REQUEST,
  },
  {
    flag: 'return-logprob',
    key: 'returnLogprob',
    type: 'flag',
    default: false,
    help: 'Ask for log-probabilities.',
    group: REQUEST,
  },
  { flag: 'stream', key: 'stream', type: 'flag', default: false, help: 'Print the text as it comes.', group: OUTPUT },
  {
    flag: 'profile',
    key: 'profile',
    type: 'flag',
    default: false,
    help: 'Have the server record the steps of the request, in SGLANG_TORCH_PROFILER_DIR or /tmp, and print the files.',
    group: PROFILING,
  },
  {
    flag: 'profile-steps',
    key: 'profileSteps',
    type: 'integer',
    min: 1,
    help: 'Forward steps to record; by stage, of each stage. Default: 3.',
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
    flag: 'profile-prefix',
    key: 'profilePrefix',
    type: 'string',
    help: 'Start of the names of trace files.',
    group: PROFILING,
  },
  { ...WAIT_TIMEOUT_OPTION, group: PROFILING },
] as const satisfies readonly Option[];

export type SendOneOptions = OptionsOf<typeof SEND_ONE_OPTIONS>;

// Options of bench-serving: load on a running server and the measures of what comes back.
import type { Option, OptionsOf } from '../option.js';
import { DATASET_OPTIONS } from './dataset-options.js';
import { SERVING_PROFILE_OPTIONS } from './serving-profile-options.js';
import { READY_TIMEOUT_OPTION } from './shared-options.js';

const TARGET = 'Server';
const LOAD = 'Load';
const REQUEST = 'Requests';
const OUTPUT = 'Output';

export const BENCH_SERVING_OPTIONS = [
  {
    flag: 'backend',
    key: 'backend',
    type: 'string',
    default: 'sglang',
    choices: ['sglang', 'sglang-native', 'sglang-oai', 'sglang-oai-chat', 'vllm', 'vllm-chat'],
    help: 'Dialect of the server: native /generate (sglang), completions (sglang-oai, vllm) or chat (…-chat).',
    group: TARGET,
  },
  {
    flag: 'base-url',
    key: 'baseUrl',
    type: 'string',
    help: 'http://… or https://… address of the server; wins over --host and --port.',
    group: TARGET,
  },
  { flag: 'host', key: 'host', type: 'string', default: '127.0.0.1', help: 'Host of the server.', group: TARGET },
  {
    flag: 'port',
    key: 'port',
    type: 'integer',
    min: 1,
    max: 65535,
    help: 'Port of the server. Default: 8000 for vllm, 30000 otherwise.',
    group: TARGET,
  },
  {
    flag: 'model',
    key: 'model',
    type: 'string',
    help: 'Model of the payload and, without --tokenizer, of the tokenizer. Default: the first of GET /v1/models.',
    group: TARGET,
  },
  {
    flag: 'served-model-name',
    key: 'servedModelName',
    type: 'string',
    help: 'Model name in the payload, where it differs from --model.',
    group: TARGET,
  },
  {
    flag: 'tokenizer',
    key: 'tokenizer',
    type: 'string',
    help: 'Folder or hub id of the tokenizer. Default: --model, or what the server’s /model_info names.',
    group: TARGET,
  },
  {
    flag: 'header',
    key: 'header',
    type: 'strings',
    help: 'Additional HTTP headers, each as Name=value, after one flag.',
    group: TARGET,
  },
  READY_TIMEOUT_OPTION,
  ...DATASET_OPTIONS,
  {
    flag: 'request-rate',
    key: 'requestRate',
    type: 'number',
    default: Number.POSITIVE_INFINITY,
    min: 1e-6,
    infinite: true,
    help: 'Requests per second, with Poisson arrivals; inf sends all at once.',
    group: LOAD,
  },
  {
    flag: 'max-concurrency',
    key: 'maxConcurrency',
    type: 'integer',
    min: 0,
    help: 'Most requests in flight; others wait their turn in the client. Default and 0: no limit.',
    group: LOAD,
  },
  {
    flag: 'warmup-requests',
    key: 'warmupRequests',
    type: 'integer',
    default: 1,
    min: 0,
    help: 'Copies of the first request (at most 32 output tokens) sent before the measurement.',
    group: LOAD,
  },
  {
    flag: 'flush-cache',
    key: 'flushCache',
    type: 'flag',
    default: false,
    help: 'POST /flush_cache after the warm-up.',
    group: LOAD,
  },
  {
    flag: 'disable-stream',
    key: 'disableStream',
    type: 'flag',
    default: false,
    help: 'Ask for whole answers.',
    group: REQUEST,
  },
  {
    flag: 'disable-ignore-eos',
    key: 'disableIgnoreEos',
    type: 'flag',
    default: false,
    help: 'Let the model end an answer before its output length.',
    group: REQUEST,
  },
  {
    flag: 'return-logprob',
    key: 'returnLogprob',
    type: 'flag',
    default: false,
    help: 'Ask for log-probabilities (backend sglang).',
    group: REQUEST,
  },
  {
    flag: 'extra-request-body',
    key: 'extraRequestBody',
    type: 'json',
    default: {},
    help: 'JSON object laid over the top level of every payload.',
    group: REQUEST,
  },
  {
    flag: 'output-file',
    key: 'outputFile',
    type: 'string',
    help: 'JSONL file that the result is appended to. Default: {backend}_{MMDD}_{num_prompts}_{dataset}.jsonl.',
    group: OUTPUT,
  },
  {
    flag: 'output-details',
    key: 'outputDetails',
    type: 'flag',
    default: false,
    help: 'Add the figures and texts of every request to the result.',
    group: OUTPUT,
  },
  {
    flag: 'print-requests',
    key: 'printRequests',
    type: 'flag',
    default: false,
    help: 'Print a line when a request starts and one when it ends.',
    group: OUTPUT,
  },
  {
    flag: 'disable-tqdm',
    key: 'disableTqdm',
    type: 'flag',
    default: false,
    help: 'Show no progress bar.',
    group: OUTPUT,
  },
  { flag: 'tag', key: 'tag', type: 'string', help: 'Copied to the result.', group: OUTPUT },
  ...SERVING_PROFILE_OPTIONS,
] as const satisfies readonly Option[];

export type BenchServingOptions = OptionsOf<typeof BENCH_SERVING_OPTIONS>;

// Options of bench-one-batch-server: one batch as one request, to a running server or to one that is launched for it.
import type { Option, OptionsOf } from '../option.js';
import { TEXT_ONLY } from './dataset-options.js';
import { SERVER_OPTIONS } from './server-options.js';
import { QUIET_LOG_LEVEL_OPTION, READY_TIMEOUT_OPTION, WAIT_TIMEOUT_OPTION } from './shared-options.js';
import { SWEEP_OPTIONS } from './sweep-options.js';

const SERVER = 'Server';
const BENCHMARK = 'Benchmark';
const REQUEST = 'Request';
const DATA = 'Workload';
const OUTPUT = 'Output';
const PROFILING = 'Profiling';

/** Rows of launch-server that mean something else here. */
const OWN_ROWS = ['model-path', 'port', 'api-key', 'admin-api-key', 'log-level'] as const;
type ServerRow = Exclude<(typeof SERVER_OPTIONS)[number], { readonly flag: (typeof OWN_ROWS)[number] }>;
type WithoutDefault<Row> = Row extends Option ? Omit<Row, 'default' | 'required' | 'env'> : never;

/** The other rows, without defaults: what is not given is left to the server that is launched. */
export const LAUNCHED_SERVER_OPTIONS = SERVER_OPTIONS.filter(
  ({ flag }) => !(OWN_ROWS as readonly string[]).includes(flag),
).map(({ default: _, required: __, env: ___, ...row }: Option) => row) as readonly WithoutDefault<ServerRow>[];

export const ONE_BATCH_SERVER_OPTIONS = [
  {
    flag: 'base-url',
    key: 'baseUrl',
    type: 'string',
    default: '',
    help: 'http://… or https://… address of a running server. Default: a server is launched with the options of launch-server.',
    group: SERVER,
  },
  {
    flag: 'backend',
    key: 'backend',
    type: 'string',
    default: 'sglang',
    choices: ['sglang', 'vllm'],
    help: 'Dialect of the server: /generate, or /v1/completions (vllm; needs --base-url, and VLLM_SERVER_DEV_MODE=1 there).',
    group: SERVER,
  },
  {
    flag: 'model-path',
    key: 'modelPath',
    type: 'string',
    aliases: ['model'],
    help: 'Model to serve: a folder in Hugging Face layout or a hub id. With --base-url: of the tokenizer, where the server’s is not here.',
    group: SERVER,
  },
  {
    flag: 'port',
    key: 'port',
    type: 'integer',
    min: 0,
    max: 65535,
    help: 'Port of the launched server. Default and 0: a free one.',
    group: SERVER,
  },
  {
    flag: 'api-key',
    key: 'apiKey',
    type: 'string',
    env: 'VITRINE_API_KEY',
    help: 'Bearer token of the requests, which a launched server asks for. Default: OPENAI_API_KEY, or API_KEY as it is.',
    group: SERVER,
  },
  {
    flag: 'admin-api-key',
    key: 'adminApiKey',
    type: 'string',
    help: 'Bearer token for flushing the cache and profiling, which a launched server asks for. Default: --api-key.',
    group: SERVER,
  },
  READY_TIMEOUT_OPTION,
  ...SWEEP_OPTIONS,
  {
    flag: 'cache-hit-rate',
    key: 'cacheHitRate',
    type: 'number',
    default: 0,
    min: 0,
    max: 1,
    help: 'Share of every prompt that is sent before the case, to be in the prefix cache.',
    group: BENCHMARK,
  },
  {
    flag: 'skip-warmup',
    key: 'skipWarmup',
    type: 'flag',
    default: false,
    help: 'Do not run each batch size once before the measurement.',
    group: BENCHMARK,
  },
  {
    flag: 'dataset-name',
    key: 'datasetName',
    type: 'string',
    default: 'random',
    choices: ['random', 'generated-shared-prefix'],
    refused: { mmmu: TEXT_ONLY },
    help: 'Prompts of random token ids, or of a system prompt that the prompts of a group share and a question.',
    group: DATA,
  },
  {
    flag: 'dataset-path',
    key: 'datasetPath',
    type: 'string',
    default: '',
    help: 'ShareGPT JSON file whose questions random prompts are made of. Default: uniform token ids.',
    group: DATA,
  },
  {
    flag: 'gsp-num-groups',
    key: 'gspNumGroups',
    type: 'integer',
    default: 1,
    min: 1,
    help: 'generated-shared-prefix: system prompts of a batch.',
    group: DATA,
  },
  {
    flag: 'gsp-system-prompt-len',
    key: 'gspSystemPromptLen',
    type: 'integer',
    default: 2048,
    min: 0,
    help: 'generated-shared-prefix: tokens of a system prompt. With the question it is the input length of every case.',
    group: DATA,
  },
  {
    flag: 'gsp-question-len',
    key: 'gspQuestionLen',
    type: 'integer',
    default: 128,
    min: 1,
    help: 'generated-shared-prefix: tokens of a question.',
    group: DATA,
  },
  {
    flag: 'gsp-output-len',
    key: 'gspOutputLen',
    type: 'integer',
    default: 256,
    min: 1,
    help: 'generated-shared-prefix: output length of every case.',
    group: DATA,
  },
  {
    flag: 'seed',
    key: 'seed',
    type: 'integer',
    default: 42,
    min: 0,
    help: 'Seed of the prompts: the same case has the same ones in every sweep.',
    group: DATA,
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
    flag: 'return-logprob',
    key: 'returnLogprob',
    type: 'flag',
    default: false,
    help: 'Ask for log-probabilities.',
    group: REQUEST,
  },
  {
    flag: 'client-stream-interval',
    key: 'clientStreamInterval',
    type: 'integer',
    default: 1,
    min: 1,
    help: 'Tokens per streamed chunk (backend sglang).',
    group: REQUEST,
  },
  {
    flag: 'parallel-batch',
    key: 'parallelBatch',
    type: 'flag',
    default: false,
    help: 'Send parallel_batch: true (backend sglang), by which SGLang encodes a batch in parallel.',
    group: REQUEST,
  },
  {
    flag: 'result-filename',
    key: 'resultFilename',
    type: 'string',
    default: 'result.jsonl',
    help: 'JSONL file that each result is appended to; "" writes none.',
    group: OUTPUT,
  },
  {
    flag: 'pydantic-result-filename',
    key: 'pydanticResultFilename',
    type: 'string',
    help: 'JSON file for the list of all results, not rounded and with the folders of profiles.',
    group: OUTPUT,
  },
  {
    flag: 'show-report',
    key: 'showReport',
    type: 'flag',
    default: false,
    help: 'Print a Markdown table of all results at the end.',
    group: OUTPUT,
  },
  {
    flag: 'gpu-hourly-cost',
    key: 'gpuHourlyCost',
    type: 'number',
    min: 0,
    help: 'Dollars an hour of one GPU, for the cost columns of the report. Default: 4 for Blackwell, 2 for other GPUs, none for CPUs.',
    group: OUTPUT,
  },
  {
    flag: 'append-to-github-summary',
    key: 'appendToGithubSummary',
    type: 'flag',
    default: true,
    negatable: true,
    help: 'Append the report to the file GITHUB_STEP_SUMMARY names, where it is set.',
    group: OUTPUT,
  },
  {
    flag: 'server-args-for-metrics',
    key: 'serverArgsForMetrics',
    type: 'strings',
    help: 'Copied to the result rows, to tell what the server at --base-url was started with.',
    group: OUTPUT,
  },
  {
    flag: 'profile',
    key: 'profile',
    type: 'flag',
    default: false,
    help: 'After all cases, run each once more and have the server record its steps; no result holds that run.',
    group: PROFILING,
  },
  {
    flag: 'profile-steps',
    key: 'profileSteps',
    type: 'integer',
    min: 1,
    help: 'Forward steps to record; by stage, of each stage. Default: 5.',
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
    help: 'Start of the names of trace files, before bs-{batch size}-il-{input length}.',
    group: PROFILING,
  },
  {
    flag: 'profile-output-dir',
    key: 'profileOutputDir',
    type: 'string',
    help: 'Folder for trace files, in a new folder for each case. Default: SGLANG_TORCH_PROFILER_DIR or /tmp.',
    group: PROFILING,
  },
  { ...WAIT_TIMEOUT_OPTION, group: PROFILING },
  QUIET_LOG_LEVEL_OPTION,
  ...LAUNCHED_SERVER_OPTIONS,
] as const satisfies readonly Option[];

export type OneBatchServerOptions = OptionsOf<typeof ONE_BATCH_SERVER_OPTIONS>;

// Options of launch-server: HTTP, text and process life, on top of the scheduler's.
import type { Option, OptionsOf } from '../option.js';
import { SCHEDULER_OPTIONS } from './scheduler-options.js';

const HTTP = 'HTTP server';
const TEXT = 'Text';
const LOGGING = 'Logging and metrics';

/** Options of the front end: needed wherever text goes in and comes out (server, generate, library). */
export const FRONTEND_OPTIONS = [
  {
    flag: 'tokenizer-path',
    key: 'tokenizerPath',
    type: 'string',
    help: 'Folder or hub id of the tokenizer. Default: the model’s.',
    group: TEXT,
  },
  {
    flag: 'skip-tokenizer-init',
    key: 'skipTokenizerInit',
    type: 'flag',
    default: false,
    help: 'Load no tokenizer: token ids in, token ids out.',
    group: TEXT,
  },
  {
    flag: 'chat-template',
    key: 'chatTemplate',
    type: 'string',
    help: 'Jinja file used instead of the tokenizer’s chat template.',
    group: TEXT,
  },
  {
    flag: 'stream-interval',
    key: 'streamInterval',
    type: 'integer',
    default: 1,
    min: 1,
    help: 'Tokens per streamed chunk; the first token is never held back.',
    group: TEXT,
  },
  {
    flag: 'stream-output',
    key: 'streamOutput',
    type: 'flag',
    default: false,
    help: '/generate streams output_ids in disjoint pieces (text stays cumulative).',
    group: TEXT,
  },
  {
    flag: 'log-level',
    key: 'logLevel',
    type: 'string',
    default: 'info',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
    help: 'Least severe lines that are logged (to stderr).',
    group: LOGGING,
  },
] as const satisfies readonly Option[];

export type FrontendOptions = OptionsOf<typeof FRONTEND_OPTIONS>;

export const SERVER_OPTIONS = [
  ...SCHEDULER_OPTIONS,
  ...FRONTEND_OPTIONS,
  { flag: 'host', key: 'host', type: 'string', default: '127.0.0.1', help: 'Address to listen on.', group: HTTP },
  {
    flag: 'port',
    key: 'port',
    type: 'integer',
    default: 30000,
    min: 0,
    max: 65535,
    help: 'Port to listen on; 0 takes a free one and logs it.',
    group: HTTP,
  },
  {
    flag: 'served-model-name',
    key: 'servedModelName',
    type: 'string',
    help: 'Model id of the OpenAI routes. Default: --model-path.',
    group: HTTP,
  },
  {
    flag: 'api-key',
    key: 'apiKey',
    type: 'string',
    env: 'VITRINE_API_KEY',
    help: 'Bearer token that every route but /health* and /metrics asks for.',
    group: HTTP,
  },
  {
    flag: 'admin-api-key',
    key: 'adminApiKey',
    type: 'string',
    help: 'Bearer token of the admin routes (/flush_cache, /abort_request, /start_profile, /stop_profile, /end_profile); the normal key is refused there then.',
    group: HTTP,
  },
  {
    flag: 'shutdown-timeout',
    key: 'shutdownTimeout',
    type: 'number',
    default: 10,
    min: 0,
    help: 'Seconds that running requests get to finish after SIGTERM or SIGINT; then they are aborted.',
    group: HTTP,
  },
  {
    flag: 'skip-server-warmup',
    key: 'skipServerWarmup',
    type: 'flag',
    default: false,
    help: 'Do not run a warm-up request before the server reports ready.',
    group: HTTP,
  },
  {
    flag: 'enable-metrics',
    key: 'enableMetrics',
    type: 'flag',
    default: false,
    help: 'Serve Prometheus metrics at /metrics and add timing keys to meta_info.',
    group: LOGGING,
  },
  {
    flag: 'enable-cache-report',
    key: 'enableCacheReport',
    type: 'flag',
    default: false,
    help: 'Report cached prompt tokens in usage.prompt_tokens_details of the OpenAI routes.',
    group: LOGGING,
  },
  {
    flag: 'log-requests',
    key: 'logRequests',
    type: 'flag',
    default: false,
    help: 'Log every request and its result.',
    group: LOGGING,
  },
] as const satisfies readonly Option[];

export type ServerOptions = OptionsOf<typeof SERVER_OPTIONS>;

// Rows that several programs share.
import type { Option } from '../option.js';

export const TOKENIZER_PATH_OPTION = {
  flag: 'tokenizer-path',
  key: 'tokenizerPath',
  type: 'string',
  help: 'Folder or hub id of the tokenizer. Default: the model’s.',
  group: 'Text',
} as const satisfies Option;

/** A server logs its life; a program whose output is what it was started for does so only when asked. */
export const QUIET_LOG_LEVEL_OPTION = {
  flag: 'log-level',
  key: 'logLevel',
  type: 'string',
  default: 'warn',
  choices: ['debug', 'info', 'warn', 'error', 'silent'],
  help: 'Least severe lines that are logged (to stderr).',
  group: 'Logging',
} as const satisfies Option;

export const WAIT_TIMEOUT_OPTION = {
  flag: 'wait-timeout',
  key: 'waitTimeout',
  type: 'number',
  default: 600,
  min: 0,
  infinite: true,
  help: 'Seconds to wait for the files of a profile before giving up, which does not end the profile.',
  group: 'Files',
} as const satisfies Option;

/** Of programs that ask a running server. */
export const CLIENT_API_KEY_OPTION = {
  flag: 'api-key',
  key: 'apiKey',
  type: 'string',
  env: 'VITRINE_API_KEY',
  help: 'Bearer token; profiling asks for the server’s admin key where it has one. Default: OPENAI_API_KEY, or API_KEY as it is.',
  group: 'Server',
} as const satisfies Option;

/** Of programs that measure. */
export const REPORT_OPTION = {
  flag: 'report',
  key: 'report',
  type: 'string',
  help: 'HTML file with charts of the results, which opens without a network; replaces what was there.',
  group: 'Output',
} as const satisfies Option;

/** Of programs with an engine. */
export const LAYERWISE_NVTX_OPTION = {
  flag: 'enable-layerwise-nvtx-marker',
  key: 'enableLayerwiseNvtxMarker',
  type: 'flag',
  help: 'Emit an NVTX range for every module of the model, named as in SGLang, for tools such as Nsight Systems.',
  group: 'Profiling',
} as const satisfies Option;

// Options of bench-one-batch: a static batch through the model runner, without a scheduler.

import type { Option, OptionsOf } from '../option.js';
import { ENGINE_OPTIONS } from './engine-options.js';
import { ONE_BATCH_PROFILE_OPTIONS } from './one-batch-profile-options.js';
import { ROOFLINE_OPTIONS } from './roofline-options.js';
import {
  LAYERWISE_NVTX_OPTION,
  QUIET_LOG_LEVEL_OPTION,
  REPORT_OPTION,
  TOKENIZER_PATH_OPTION,
} from './shared-options.js';
import { SWEEP_OPTIONS } from './sweep-options.js';

const BENCHMARK = 'Benchmark';

export const ONE_BATCH_OPTIONS = [
  ...SWEEP_OPTIONS,
  {
    flag: 'prompt-filename',
    key: 'promptFilename',
    type: 'string',
    default: '',
    help: 'Text file with one prompt a line, instead of random token ids.',
    group: BENCHMARK,
  },
  {
    flag: 'result-filename',
    key: 'resultFilename',
    type: 'string',
    default: 'result.jsonl',
    help: 'JSONL file that the results are appended to; "" writes none.',
    group: BENCHMARK,
  },
  {
    flag: 'correctness-test',
    key: 'correctnessTest',
    type: 'flag',
    default: false,
    help: 'Continue three fixed prompts (or those of --prompt-filename) and print logits and texts, instead of timing.',
    group: BENCHMARK,
  },
  {
    flag: 'cut-len',
    key: 'cutLen',
    type: 'integer',
    default: 4,
    min: 0,
    help: 'Correctness test: prompt tokens in the first of two prefill steps; 0 takes one step.',
    group: BENCHMARK,
  },
  {
    flag: 'log-decode-step',
    key: 'logDecodeStep',
    type: 'integer',
    default: 0,
    min: 0,
    help: 'Print every n-th decode step; 0 prints the first five.',
    group: BENCHMARK,
  },
  { ...REPORT_OPTION, group: BENCHMARK },
  ...ROOFLINE_OPTIONS,
  ...ONE_BATCH_PROFILE_OPTIONS,
  LAYERWISE_NVTX_OPTION,
  ...ENGINE_OPTIONS,
  TOKENIZER_PATH_OPTION,
  QUIET_LOG_LEVEL_OPTION,
] as const satisfies readonly Option[];

export type OneBatchOptions = OptionsOf<typeof ONE_BATCH_OPTIONS>;

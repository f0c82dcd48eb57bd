// Options of bench-one-batch: a static batch through the model runner, without a scheduler.
import { ENGINE_OPTIONS } from './engine-options.js';
import type { Option, OptionsOf } from './option.js';

const BENCHMARK = 'Benchmark';

export const ONE_BATCH_OPTIONS = [
  {
    flag: 'run-name',
    key: 'runName',
    type: 'string',
    default: 'default',
    help: 'Copied to the result rows.',
    group: BENCHMARK,
  },
  {
    flag: 'batch-size',
    key: 'batchSize',
    type: 'integers',
    default: [1],
    min: 1,
    help: 'Batch sizes of the sweep.',
    group: BENCHMARK,
  },
  {
    flag: 'input-len',
    key: 'inputLen',
    type: 'integers',
    default: [1024],
    min: 1,
    help: 'Prompt lengths of the sweep, in tokens.',
    group: BENCHMARK,
  },
  {
    flag: 'output-len',
    key: 'outputLen',
    type: 'integers',
    default: [16],
    min: 1,
    help: 'Output lengths of the sweep, in tokens.',
    group: BENCHMARK,
  },
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
    min: 1,
    help: 'Correctness test: prompt tokens in the first of two prefill steps.',
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
  {
    flag: 'tokenizer-path',
    key: 'tokenizerPath',
    type: 'string',
    help: 'Folder or hub id of the tokenizer. Default: the model’s. Needed for texts only.',
    group: BENCHMARK,
  },
  {
    flag: 'log-level',
    key: 'logLevel',
    type: 'string',
    default: 'warn',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
    help: 'Least severe lines that are logged (to stderr).',
    group: BENCHMARK,
  },
  ...ENGINE_OPTIONS,
] as const satisfies readonly Option[];

export type OneBatchOptions = OptionsOf<typeof ONE_BATCH_OPTIONS>;

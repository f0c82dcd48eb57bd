// Options of the benches that time static batches: the axes of the sweep.
import type { Option } from '../option.js';

const BENCHMARK = 'Benchmark';

export const SWEEP_OPTIONS = [
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
    max: 4096,
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
] as const satisfies readonly Option[];

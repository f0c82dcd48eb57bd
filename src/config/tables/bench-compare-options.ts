// Options of bench-compare: which result files, which figures, and when a difference is a failure.
import type { Option, OptionsOf } from '../option.js';
import { REPORT_OPTION } from './shared-options.js';

const RESULTS = 'Results';

export const BENCH_COMPARE_OPTIONS = [
  {
    flag: 'files',
    key: 'files',
    type: 'strings',
    positional: true,
    required: true,
    help: 'Two or more JSONL files of benchmark results, ours or SGLang’s. The word --files may be left out.',
    group: RESULTS,
  },
  {
    flag: 'baseline',
    key: 'baseline',
    type: 'string',
    help: 'The file that the others are compared with. Default: the first.',
    group: RESULTS,
  },
  {
    flag: 'metrics',
    key: 'metrics',
    type: 'strings',
    help: 'Keys of the figures to compare, with a dot inside steady_state. Default: the main figures of the program.',
    group: RESULTS,
  },
  {
    flag: 'fail-on-regression',
    key: 'failOnRegression',
    type: 'number',
    min: 0,
    help: 'Exit with 1 where a figure is worse by more than so many percent and, if runs tell the spread, by more than that.',
    group: RESULTS,
  },
  { flag: 'json', key: 'json', type: 'flag', help: 'Print one JSON object instead of tables.', group: RESULTS },
  REPORT_OPTION,
] as const satisfies readonly Option[];

export type BenchCompareOptions = OptionsOf<typeof BENCH_COMPARE_OPTIONS>;

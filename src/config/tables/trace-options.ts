// Options of the programs that read trace files: merge-traces and trace-summary.
import type { Option, OptionsOf } from '../option.js';

const TRACES = 'Traces';

export const MERGE_TRACES_OPTIONS = [
  {
    flag: 'inputs',
    key: 'inputs',
    type: 'strings',
    positional: true,
    required: true,
    help: 'Trace files of ranks, or directories of them. The word --inputs may be left out.',
    group: TRACES,
  },
  {
    flag: 'output',
    key: 'output',
    type: 'string',
    help: 'The merged file. Default: merged-{profile id}[-{stage}].trace.json.gz beside the first input.',
    group: TRACES,
  },
  {
    flag: 'profile-id',
    key: 'profileId',
    type: 'string',
    help: 'Merge only this profile’s files of a directory. Default: every profile, one merged file for each and its stages.',
    group: TRACES,
  },
] as const satisfies readonly Option[];
export type MergeTracesOptions = OptionsOf<typeof MERGE_TRACES_OPTIONS>;

export const TRACE_SUMMARY_OPTIONS = [
  {
    flag: 'file',
    key: 'file',
    type: 'string',
    positional: true,
    required: true,
    help: 'A trace file, compressed or not: ours, merged, or written by PyTorch. The word --file may be left out.',
    group: TRACES,
  },
  { flag: 'json', key: 'json', type: 'flag', help: 'Print the summary as one JSON object.', group: TRACES },
  {
    flag: 'top',
    key: 'top',
    type: 'integer',
    default: 20,
    min: 1,
    help: 'How many ops to list.',
    group: TRACES,
  },
] as const satisfies readonly Option[];
export type TraceSummaryOptions = OptionsOf<typeof TRACE_SUMMARY_OPTIONS>;

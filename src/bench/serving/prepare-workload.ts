// The flags of a workload → requests and their times, saved where that is wanted.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { DATASET_OPTIONS } from '../../config/tables/dataset-options.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { loadWorkload } from '../datasets/load-workload.js';
import { assignLora } from '../datasets/lora-names.js';
import { saveWorkload } from '../datasets/workload-file.js';
import { checkWorkload } from './check-dataset.js';
import { type ScheduledWorkload, scheduleWorkload } from './load/arrivals.js';
import { formatRate } from './results/console-report.js';

/**
 * The requests of the run and their times; written to a file where the user wants to keep them. `directory`: the tokenizer's.
 * Error: ABORTED once `signal` has fired
 */
export async function prepareWorkload(
  options: BenchServingOptions,
  tokenizer: Tokenizer,
  directory: string,
  signal: AbortSignal,
): Promise<ScheduledWorkload> {
  const loaded = await loadWorkload(options, tokenizer, directory, signal);
  const { loraName: names = [], loraRequestDistribution: distribution, loraZipfAlpha: zipfAlpha, seed } = options;
  const requests = assignLora(loaded.requests, { names, distribution, zipfAlpha, seed });
  const workload = scheduleWorkload({ ...loaded, requests }, options);
  checkWorkload(workload, options);
  if (options.saveWorkload !== undefined) {
    await saveWorkload(options.saveWorkload, workload, workload.arrivals, workloadFlags(options));
  }
  return workload;
}

/** What the requests of a saved workload and their times depend on: flag → value. */
function workloadFlags(options: BenchServingOptions): Record<string, unknown> {
  return {
    ...Object.fromEntries(DATASET_OPTIONS.map(({ flag, key }) => [flag, options[key]])),
    'request-rate': formatRate(options.requestRate),
    'use-trace-timestamps': options.useTraceTimestamps,
    'lora-name': options.loraName,
    'lora-request-distribution': options.loraRequestDistribution,
    'lora-zipf-alpha': options.loraZipfAlpha,
  };
}

// The options that decide what is sent, beyond those that have a key of SGLang's: without them two runs of one dataset
// with other flags would look like runs of one workload.
import { basename } from 'node:path';
import type { Option } from '../../../config/option.js';
import { BENCH_SERVING_OPTIONS, type BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import { DATASET_OPTIONS } from '../../../config/tables/dataset-options.js';
import { hideSecrets } from '../../results/secrets.js';

/** They have keys of their own. */
const IN_ROW: readonly string[] = [
  'dataset-name',
  'num-prompts',
  'sharegpt-output-len',
  'random-input-len',
  'random-output-len',
  'random-range-ratio',
  'seed',
];

const OF_REQUESTS: readonly string[] = [
  'use-trace-timestamps',
  'lora-name',
  'lora-request-distribution',
  'lora-zipf-alpha',
  'disable-stream',
  'disable-ignore-eos',
  'return-logprob',
  'logprob-start-len',
  'top-logprobs-num',
  'token-ids-logprob',
  'return-routed-experts',
  'temperature',
  'top-p',
  'extra-request-body',
];

const OPTIONS: readonly Option[] = [
  ...DATASET_OPTIONS.filter(({ flag }) => !IN_ROW.includes(flag)),
  ...BENCH_SERVING_OPTIONS.filter(({ flag }) => OF_REQUESTS.includes(flag)),
];

/** Flag, with underscores → value, where it is not the default. Of a file its name: folders differ between machines. */
export function workloadArguments(options: BenchServingOptions): Record<string, unknown> {
  const values = hideSecrets(OPTIONS, options);
  const given = OPTIONS.filter(({ key, default: usual }) => JSON.stringify(values[key]) !== JSON.stringify(usual));
  return Object.fromEntries(
    given.map(({ flag, key }) => {
      const value = values[key];
      return [flag.replaceAll('-', '_'), flag === 'dataset-path' ? basename(String(value)) : value];
    }),
  );
}

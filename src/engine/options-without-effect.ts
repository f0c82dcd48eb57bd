// Options that were given and can have no effect, on this device or beside other options: the log says each at start.
import { longFlag } from '../config/option-value.js';
import { SCHEDULER_OPTIONS, type SchedulerOptions } from '../config/tables/scheduler-options.js';
import type { DeviceInfo } from '../native/addon.js';
import type { Log } from '../util/log.js';
import type { DeviceOptions } from './device-options.js';

type Why = (options: DeviceOptions, device: DeviceInfo) => string | false;

const onCpu: Why = (_, { kind }) => kind === 'cpu' && 'the model runs on the CPU';

/** The end of the sentence that says why an option has no effect; false: it has one. */
const REASONS: Partial<Record<keyof SchedulerOptions, Why>> = {
  baseGpuId: onCpu,
  cudaGraphMaxBs: onCpu,
  cudaGraphBs: onCpu,
  cpuIsa: (_, { kind }) => kind === 'cuda' && 'the model runs on a GPU',
  maxPrefillTokens: ({ chunkedPrefillSize }) =>
    chunkedPrefillSize > 0 && `the prompt tokens of a step are limited by --chunked-prefill-size ${chunkedPrefillSize}`,
  schedulePolicy: ({ schedulePolicy, disableRadixCache }) =>
    schedulePolicy === 'lpm' &&
    disableRadixCache &&
    'with --disable-radix-cache there are no cached prefixes to match; requests start in order of arrival',
  mixedStepStretch: ({ mixedStepStretch, enableMixedChunk, chunkedPrefillSize }) =>
    mixedStepStretch > 0 &&
    ((!enableMixedChunk && 'without --enable-mixed-chunk no step holds prefill chunks and decodes') ||
      (chunkedPrefillSize <= 0 && `--chunked-prefill-size ${chunkedPrefillSize} leaves prompts whole`)),
};

/** An option that has its default value counts as not given. */
export function warnOfOptionsWithoutEffect(options: DeviceOptions, device: DeviceInfo, log: Log): void {
  for (const option of SCHEDULER_OPTIONS) {
    const value = options[option.key];
    const why = REASONS[option.key]?.(options, device);
    if (!why || value === undefined || value === ('default' in option ? option.default : undefined)) continue;
    const name = 'env' in option ? `${longFlag(option)} (or ${option.env})` : longFlag(option);
    log.warn(`${name} ${Array.isArray(value) ? value.join(' ') : value} has no effect: ${why}.`);
  }
}

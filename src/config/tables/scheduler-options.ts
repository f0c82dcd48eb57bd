// Options of the scheduler of one replica: what runs in the next step.

import type { Option, OptionsOf } from '../option.js';
import { ENGINE_OPTIONS } from './engine-options.js';
import { LAYERWISE_NVTX_OPTION } from './shared-options.js';

const SCHEDULING = 'Scheduling';

export const SCHEDULER_OPTIONS = [
  ...ENGINE_OPTIONS,
  {
    flag: 'max-running-requests',
    key: 'maxRunningRequests',
    type: 'integer',
    min: 1,
    max: 4096,
    help: 'Most requests in one step. Default: 256; on a GPU 2048 to 4096, by how many contexts fit in its KV cache.',
    group: SCHEDULING,
  },
  {
    flag: 'max-queued-requests',
    key: 'maxQueuedRequests',
    type: 'integer',
    min: 1,
    help: 'Most waiting requests; more are refused with 503. Default: no limit.',
    group: SCHEDULING,
  },
  {
    flag: 'chunked-prefill-size',
    key: 'chunkedPrefillSize',
    type: 'integer',
    min: -1,
    help: 'Most prompt tokens in one step; longer prompts are cut into chunks. -1 or 0: no chunking. Default: 2048; on a GPU 2048 to 16384, by its memory.',
    group: SCHEDULING,
  },
  {
    flag: 'max-prefill-tokens',
    key: 'maxPrefillTokens',
    type: 'integer',
    default: 16384,
    min: 1,
    help: 'Most prompt tokens of all requests in one step when --chunked-prefill-size is -1 or 0; else without effect, with a warning.',
    group: SCHEDULING,
  },
  {
    flag: 'schedule-policy',
    key: 'schedulePolicy',
    type: 'string',
    default: 'fcfs',
    choices: ['fcfs', 'lpm'],
    help: 'Order of waiting requests: first come, or longest prefix match in the cache (with --disable-radix-cache that of fcfs, with a warning).',
    group: SCHEDULING,
  },
  {
    flag: 'enable-mixed-chunk',
    key: 'enableMixedChunk',
    type: 'flag',
    default: true,
    negatable: true,
    help: 'Prefill chunks and running decodes share a step. Off: prefill steps come first, as in SGLang’s default.',
    group: SCHEDULING,
  },
  {
    flag: 'mixed-step-stretch',
    key: 'mixedStepStretch',
    type: 'number',
    default: 2,
    min: 0,
    help: 'Prefill chunks that share a step with decodes are cut so that the step takes about this many times a step of those decodes alone, at the cost of longer prefills and lower throughput. 0: only --chunked-prefill-size counts. Without --enable-mixed-chunk, or without chunking: no effect, with a warning.',
    group: SCHEDULING,
  },
  {
    flag: 'disable-radix-cache',
    key: 'disableRadixCache',
    type: 'flag',
    default: false,
    help: 'Do not keep KV blocks of finished requests for prompts with the same prefix.',
    group: SCHEDULING,
  },
  {
    flag: 'disable-overlap-schedule',
    key: 'disableOverlapSchedule',
    type: 'flag',
    default: false,
    help: 'Schedule the next step only when the last one has ended.',
    group: SCHEDULING,
  },
  {
    flag: 'decode-log-interval',
    key: 'decodeLogInterval',
    type: 'integer',
    default: 40,
    min: 1,
    help: 'Decode steps between two log lines.',
    group: SCHEDULING,
  },
  {
    flag: 'watchdog-timeout',
    key: 'watchdogTimeout',
    type: 'number',
    default: 300,
    min: 1,
    help: 'Seconds after which a step that has not ended stops the process with an error.',
    group: SCHEDULING,
  },
  LAYERWISE_NVTX_OPTION,
] as const satisfies readonly Option[];

export type SchedulerOptions = OptionsOf<typeof SCHEDULER_OPTIONS>;

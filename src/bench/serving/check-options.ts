// Combinations of bench-serving's flags that make no sense, refused before anything is sent.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { SERVING_PROFILE_OPTIONS } from '../../config/tables/serving-profile-options.js';
import { VitrineError } from '../../util/errors.js';
import { isTokenIds, type Workload } from '../datasets/bench-request.js';
import { checkBackend, checkPrompts } from './backends/check-backend.js';
import { parseObjectives } from './metrics/goodput.js';

const NEEDS_CHAT = 'needs a chat backend (one that ends in -chat)';

const isChat = ({ backend }: BenchServingOptions): boolean => backend.endsWith('-chat');

/** @throws VitrineError INVALID_OPTION */
export function checkOptions(options: BenchServingOptions): void {
  checkBackend(options);
  checkDataset(options);
  checkLora(options);
  if (options.goodput !== undefined) parseObjectives(options.goodput);
  checkProfile(options);
}

function checkDataset(options: BenchServingOptions): void {
  const { datasetName } = options;
  const isRandom = datasetName === 'random' || datasetName === 'random-ids';
  const isQuestions = datasetName === 'sharegpt' || datasetName === 'custom';
  const isTimed = datasetName === 'mooncake' || datasetName === 'workload';
  const forQuestions = 'works with --dataset-name sharegpt and custom';
  if (options.tokenizePrompt && !isRandom) refuse('--tokenize-prompt', 'works with random and random-ids', datasetName);
  if (options.applyChatTemplate && !isQuestions) refuse('--apply-chat-template', forQuestions, datasetName);
  if (options.promptSuffix !== '' && !isQuestions) refuse('--prompt-suffix', forQuestions, datasetName);
  if (options.useTraceTimestamps && !isTimed) {
    refuse('--use-trace-timestamps', 'needs the timestamps of --dataset-name mooncake or workload', datasetName);
  }
  if (isChat(options)) return;
  const { backend } = options;
  if (datasetName === 'generated-shared-prefix' && options.gspNumTurns > 1) {
    refuse('--gsp-num-turns', NEEDS_CHAT, backend);
  }
  if (datasetName === 'mooncake' && options.mooncakeNumRounds > 1) refuse('--mooncake-num-rounds', NEEDS_CHAT, backend);
}

function checkLora({ loraName: names = [], ...options }: BenchServingOptions): void {
  const { loraRequestDistribution: distribution, loraZipfAlpha: alpha } = options;
  if (distribution !== 'uniform' && names.length < 2) {
    const flag = '--lora-request-distribution';
    const message = `${flag} ${distribution} needs two names or more of --lora-name, got ${names.length}`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag });
  }
  if (!(alpha > 1)) {
    const message = `--lora-zipf-alpha: expected a number greater than 1, got ${alpha}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--lora-zipf-alpha' });
  }
}

/** What only the requests tell. @throws VitrineError INVALID_OPTION */
export function checkWorkload(workload: Workload, options: BenchServingOptions): void {
  checkPrompts(workload, options);
  for (const { prompt, followUps } of workload.requests) {
    if (followUps === undefined || !isTokenIds(prompt)) continue;
    refuse(`--dataset-name ${options.datasetName}`, 'has conversations, which begin with text', 'token ids');
  }
}

/** Of the options that are about profiles. @throws VitrineError INVALID_OPTION */
function checkProfile(options: BenchServingOptions): void {
  const { profilePrefillUrl: prefill, profileDecodeUrl: decode } = options;
  if (prefill !== undefined && decode !== undefined) {
    refuse('--profile-decode-url', 'profiles decode servers alone', '--profile-prefill-url');
  }
  // A profiled run is slower than the others: no run to take a median with.
  if (options.profile && options.numRuns > 1)
    refuse('--profile', 'works with one run', `--num-runs ${options.numRuns}`);
  if (options.pdSeparated) return;
  const url = prefill !== undefined ? '--profile-prefill-url' : '--profile-decode-url';
  if (prefill !== undefined || decode !== undefined) refuse(url, 'works with --pd-separated', 'one server');
}

/** Flags that were given and do nothing, for a warning. */
export function idleProfileFlags(options: BenchServingOptions): string[] {
  if (options.profile) {
    return options.profileStages !== undefined && !options.profileByStage
      ? ['--profile-stages (without --profile-by-stage)']
      : [];
  }
  const given = SERVING_PROFILE_OPTIONS.filter(({ key, flag }) => {
    // The environment may hold a directory for other programs.
    const value = options[key];
    return value !== undefined && value !== false && flag !== 'profile-output-dir';
  });
  return given.map(({ flag }) => `--${flag} (without --profile)`);
}

function refuse(flag: string, expected: string, got: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag} ${expected}, not with ${got}`, { param: flag.split(' ')[0]! });
}

// Combinations of bench-offline-throughput's flags that make no sense.
import type { OfflineThroughputOptions } from '../../config/tables/offline-throughput-options.js';
import { VitrineError } from '../../util/errors.js';
import type { Output } from '../output.js';

/** Datasets of questions, which are dressed; and those of token ids. */
const QUESTIONS: readonly string[] = ['sharegpt', 'custom'];
const IDS: readonly string[] = ['random', 'random-ids'];

/** @throws VitrineError INVALID_OPTION */
export function checkOptions(options: OfflineThroughputOptions, output: Output): void {
  const { datasetName: name, profile, profileOutputDir } = options;
  const isQuestions = QUESTIONS.includes(name);
  if (options.applyChatTemplate && !isQuestions) refuse('--apply-chat-template', `has no effect on ${name} prompts`);
  if (options.promptSuffix !== '' && !isQuestions) refuse('--prompt-suffix', `has no effect on ${name} prompts`);
  if (options.tokenizePrompt && !IDS.includes(name)) refuse('--tokenize-prompt', `works with random and random-ids`);
  if (options.logprobStartLen !== -1 && !options.returnLogprob) {
    refuse('--logprob-start-len', 'works with --return-logprob');
  }
  if (profile && !profileOutputDir) {
    refuse('--profile', 'Please set SGLANG_TORCH_PROFILER_DIR. (Or give --profile-output-dir.)');
  }
  if (!profile && (options.profileActivities !== undefined || options.profileSteps !== undefined)) {
    output.warn('--profile-activities and --profile-steps have no effect without --profile');
  }
}

function refuse(flag: string, problem: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag}: ${problem}`, { param: flag });
}

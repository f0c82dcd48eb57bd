// --dataset-name and its flags → the requests of a run.
import type { DatasetOptions } from '../../config/tables/dataset-options.js';
import { ChatTemplate } from '../../tokenizer/chat-template.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Workload } from './bench-request.js';
import { customWorkload } from './custom.js';
import { mooncakeWorkload } from './mooncake.js';
import { openAiWorkload } from './openai.js';
import type { QuestionSettings } from './questions.js';
import { randomWorkload } from './random.js';
import { randomIdsWorkload } from './random-ids.js';
import type { RandomSettings } from './random-lengths.js';
import { sharedPrefixWorkload } from './shared-prefix.js';
import { shareGptWorkload } from './sharegpt.js';
import { readWorkload } from './workload-file.js';

/** Datasets that say themselves how many requests they have; --num-prompts does not matter to them. */
const OWN_COUNT: readonly DatasetOptions['datasetName'][] = ['generated-shared-prefix', 'workload'];
/** Datasets that are nothing without a file. */
const NEEDS_PATH: readonly DatasetOptions['datasetName'][] = ['custom', 'openai', 'workload'];

/**
 * `directory`: the tokenizer's folder, where the chat template is looked for.
 * @throws VitrineError INVALID_OPTION for a file that is missing or is something else; BENCH_FAILED without a usable row;
 * ABORTED once `signal` has fired
 */
export async function loadWorkload(
  options: DatasetOptions,
  tokenizer: Tokenizer,
  directory: string,
  signal?: AbortSignal,
): Promise<Workload> {
  const { datasetName: name, datasetPath: path } = options;
  if (path === '' && NEEDS_PATH.includes(name)) {
    const message = `--dataset-name ${name} needs a file: give one with --dataset-path`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--dataset-path' });
  }
  const workload = await build(options, tokenizer, directory, signal);
  if (workload.requests.length > 0) return workload;
  const reasons = Object.entries(workload.skipped).map(([reason, count]) => `${count} × ${reason}`);
  const detail = reasons.length === 0 ? '' : `; left out: ${reasons.join(', ')}`;
  throw new VitrineError('BENCH_FAILED', `--dataset-path ${path}: no row can be used${detail}`, {
    param: '--dataset-path',
  });
}

/** How many requests the options ask for, or undefined where the dataset decides. */
export function requestedCount({ datasetName, numPrompts }: DatasetOptions): number | undefined {
  return OWN_COUNT.includes(datasetName) ? undefined : numPrompts;
}

async function build(
  options: DatasetOptions,
  tokenizer: Tokenizer,
  directory: string,
  signal: AbortSignal | undefined,
): Promise<Workload> {
  const { datasetPath: path, numPrompts, seed } = options;
  switch (options.datasetName) {
    case 'sharegpt':
      return shareGptWorkload(tokenizer, path, await questionSettings(options, directory), signal);
    case 'custom':
      return customWorkload(tokenizer, path, await questionSettings(options, directory), signal);
    case 'openai':
      return openAiWorkload(
        tokenizer,
        {
          path,
          numPrompts,
          outputLen: options.sharegptOutputLen,
          chatTemplate: await ChatTemplate.load(directory),
        },
        signal,
      );
    case 'random':
      return randomWorkload(tokenizer, path, randomSettings(options), signal);
    case 'random-ids':
      return randomIdsWorkload(tokenizer, randomSettings(options), signal);
    case 'generated-shared-prefix':
      return sharedPrefixWorkload(
        tokenizer,
        {
          seed,
          numGroups: options.gspNumGroups,
          promptsPerGroup: options.gspPromptsPerGroup,
          systemPromptLen: options.gspSystemPromptLen,
          questionLen: options.gspQuestionLen,
          outputLen: options.gspOutputLen,
          rangeRatio: options.gspRangeRatio,
          fastPrepare: options.gspFastPrepare,
          sendRoutingKey: options.gspSendRoutingKey,
          ordered: options.gspOrdered,
          numTurns: options.gspNumTurns,
        },
        signal,
      );
    case 'mooncake':
      return mooncakeWorkload(
        tokenizer,
        {
          path,
          numPrompts,
          workload: options.mooncakeWorkload,
          slowdownFactor: options.mooncakeSlowdownFactor,
          numRounds: options.mooncakeNumRounds,
        },
        signal,
      );
    case 'workload':
      return readWorkload(path, signal);
  }
}

async function questionSettings(options: DatasetOptions, directory: string): Promise<QuestionSettings> {
  return {
    numPrompts: options.numPrompts,
    seed: options.seed,
    outputLen: options.sharegptOutputLen,
    contextLen: options.sharegptContextLen,
    promptSuffix: options.promptSuffix,
    chatTemplate: options.applyChatTemplate ? await requireChatTemplate(directory) : undefined,
  };
}

function randomSettings(options: DatasetOptions): RandomSettings {
  return {
    numPrompts: options.numPrompts,
    seed: options.seed,
    inputLen: options.randomInputLen,
    outputLen: options.randomOutputLen,
    rangeRatio: options.randomRangeRatio,
    tokenizePrompt: options.tokenizePrompt,
  };
}

async function requireChatTemplate(directory: string): Promise<ChatTemplate> {
  const template = await ChatTemplate.load(directory);
  if (template !== undefined) return template;
  throw new VitrineError('INVALID_OPTION', `--apply-chat-template: ${directory} has no chat template`, {
    param: '--apply-chat-template',
  });
}

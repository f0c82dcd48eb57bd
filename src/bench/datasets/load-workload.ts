// --dataset-name and its flags → the requests of a run.
import type { DatasetOptions } from '../../config/tables/dataset-options.js';
import { ChatTemplate } from '../../tokenizer/chat-template.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Workload } from './bench-request.js';
import { randomWorkload } from './random.js';
import { randomIdsWorkload } from './random-ids.js';
import type { RandomSettings } from './random-lengths.js';
import { shareGptWorkload } from './sharegpt.js';

/** `directory`: the tokenizer's folder, where the chat template is looked for. */
export async function loadWorkload(
  options: DatasetOptions,
  tokenizer: Tokenizer,
  directory: string,
): Promise<Workload> {
  const workload = await build(options, tokenizer, directory);
  if (workload.requests.length > 0) return workload;
  const reasons = Object.entries(workload.skipped).map(([reason, count]) => `${count} × ${reason}`);
  const detail = reasons.length === 0 ? '' : `; left out: ${reasons.join(', ')}`;
  throw new VitrineError('BENCH_FAILED', `--dataset-path ${options.datasetPath}: no row can be used${detail}`, {
    param: '--dataset-path',
  });
}

async function build(options: DatasetOptions, tokenizer: Tokenizer, directory: string): Promise<Workload> {
  const { datasetName, datasetPath: path, numPrompts, seed } = options;
  if (datasetName === 'sharegpt') {
    return shareGptWorkload(tokenizer, {
      path,
      numPrompts,
      seed,
      outputLen: options.sharegptOutputLen,
      contextLen: options.sharegptContextLen,
      promptSuffix: options.promptSuffix,
      chatTemplate: options.applyChatTemplate ? await requireChatTemplate(directory) : undefined,
    });
  }
  const settings: RandomSettings = {
    numPrompts,
    seed,
    inputLen: options.randomInputLen,
    outputLen: options.randomOutputLen,
    rangeRatio: options.randomRangeRatio,
    tokenizePrompt: options.tokenizePrompt,
  };
  return datasetName === 'random' ? randomWorkload(tokenizer, path, settings) : randomIdsWorkload(tokenizer, settings);
}

async function requireChatTemplate(directory: string): Promise<ChatTemplate> {
  const template = await ChatTemplate.load(directory);
  if (template !== undefined) return template;
  throw new VitrineError('INVALID_OPTION', `--apply-chat-template: ${directory} has no chat template`, {
    param: '--apply-chat-template',
  });
}

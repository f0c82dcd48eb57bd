// Flags about prompts that the chosen dataset has no use for, refused before anything is loaded.
import type { DatasetOptions } from '../../config/tables/dataset-options.js';
import { VitrineError } from '../../util/errors.js';

/** Questions can be dressed; random prompts can be sent as token ids. @throws VitrineError INVALID_OPTION */
export function checkDatasetOptions(options: DatasetOptions): void {
  const { datasetName: name } = options;
  const isRandom = name === 'random' || name === 'random-ids';
  const isQuestions = name === 'sharegpt' || name === 'custom';
  if (options.tokenizePrompt && !isRandom) refuse('--tokenize-prompt', 'random and random-ids', name);
  if (options.applyChatTemplate && !isQuestions) refuse('--apply-chat-template', 'sharegpt and custom', name);
  if (options.promptSuffix !== '' && !isQuestions) refuse('--prompt-suffix', 'sharegpt and custom', name);
}

function refuse(flag: string, datasets: string, name: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag} works with --dataset-name ${datasets}, not with ${name}`, {
    param: flag,
  });
}

// Combinations of bench-serving's flags that make no sense, refused before anything is sent.
import type { BenchServingOptions } from '../../config/bench-serving-options.js';
import { VitrineError } from '../../util/errors.js';
import { selectBackend } from './backends/select-backend.js';

/** @throws VitrineError INVALID_OPTION */
export function checkOptions(options: BenchServingOptions): void {
  const isNative = selectBackend(options.backend).countsTokens;
  const isShareGpt = options.datasetName === 'sharegpt';
  if (options.tokenizePrompt && !isNative) refuse('--tokenize-prompt', 'works with --backend sglang', options.backend);
  if (options.returnLogprob && !isNative) refuse('--return-logprob', 'works with --backend sglang', options.backend);
  if (options.tokenizePrompt && isShareGpt) refuse('--tokenize-prompt', 'works with random and random-ids', 'sharegpt');
  if (options.applyChatTemplate && !isShareGpt) {
    refuse('--apply-chat-template', 'works with --dataset-name sharegpt', options.datasetName);
  }
  if (options.promptSuffix !== '' && !isShareGpt) {
    refuse('--prompt-suffix', 'works with --dataset-name sharegpt', options.datasetName);
  }
}

function refuse(flag: string, expected: string, got: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag} ${expected}, not with ${got}`, { param: flag });
}

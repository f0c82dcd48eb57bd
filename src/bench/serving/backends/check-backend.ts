// What a backend cannot send or answer, refused before anything is sent.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import { VitrineError } from '../../../util/errors.js';
import type { Workload } from '../../datasets/bench-request.js';
import { promptKind } from './backend.js';
import { needsModel, selectBackend } from './select-backend.js';

/** @throws VitrineError INVALID_OPTION */
export function checkBackend(options: BenchServingOptions): void {
  const { backend: name } = options;
  const backend = selectBackend(name);
  if (needsModel(name) && options.model === undefined) {
    refuse('--model', `is required with --backend ${name}, whose server names no models`);
  }
  if (options.tokenizePrompt && !backend.prompts.includes('token ids')) {
    refuse('--tokenize-prompt', `works with --backend sglang, sglang-oai and vllm, not with ${name}`);
  }
  if (options.disableStream && !backend.answersWhole) {
    refuse('--disable-stream', `does not work with ${name}: ${backend.path} always streams`);
  }
  if (options.cacheReport && !backend.reportsCache) {
    refuse('--cache-report', `does not work with ${name}: its answers do not tell what was cached`);
  }
  checkNativeFlags(options);
}

function checkNativeFlags(options: BenchServingOptions): void {
  const logprobFlags = {
    '--logprob-start-len': options.logprobStartLen,
    '--top-logprobs-num': options.topLogprobsNum,
    '--token-ids-logprob': options.tokenIdsLogprob,
  };
  const nativeFlags = {
    '--return-logprob': options.returnLogprob || undefined,
    ...logprobFlags,
    '--return-routed-experts': options.returnRoutedExperts || undefined,
  };
  const isNative = selectBackend(options.backend) === selectBackend('sglang');
  for (const [flag, value] of Object.entries(nativeFlags)) {
    if (value !== undefined && !isNative) refuse(flag, `works with --backend sglang, not with ${options.backend}`);
  }
  for (const [flag, value] of Object.entries(logprobFlags)) {
    if (value !== undefined && !options.returnLogprob) refuse(flag, 'works with --return-logprob, not without it');
  }
}

/** For datasets whose prompts are known only when they are there. @throws VitrineError INVALID_OPTION */
export function checkPrompts({ requests }: Workload, options: BenchServingOptions): void {
  const { prompts, path } = selectBackend(options.backend);
  for (const { prompt, followUps } of requests) {
    const kind = followUps === undefined ? promptKind(prompt) : 'messages';
    if (prompts.includes(kind)) continue;
    const takes = `--backend ${options.backend} (${path}) takes ${prompts.join(' or ')}`;
    refuse('--dataset-name', `${options.datasetName} gives ${kind}, and ${takes}`);
  }
}

function refuse(flag: string, reason: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag} ${reason}`, { param: flag });
}

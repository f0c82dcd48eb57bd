// Flags → what every payload of a run has in common.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import type { PayloadSettings } from './backend.js';

/** `model`: what the server calls it. */
export function payloadSettings(options: BenchServingOptions, model: string): PayloadSettings {
  return {
    model,
    stream: !options.disableStream,
    ignoreEos: !options.disableIgnoreEos,
    temperature: options.temperature,
    topP: options.topP,
    returnLogprob: options.returnLogprob,
    logprobStartLen: options.logprobStartLen ?? -1,
    topLogprobsNum: options.topLogprobsNum,
    tokenIdsLogprob: options.tokenIdsLogprob,
    returnRoutedExperts: options.returnRoutedExperts,
    extraBody: options.extraRequestBody,
  };
}

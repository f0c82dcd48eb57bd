// The last guard before a request reaches the engine, where one bad value would end the service for everyone. The front
// end refuses the same things earlier, in the words of its API.
import type { ListLimits } from '../engine/list-limits.js';
import type { RunnerLimits } from '../engine/model-runner.js';
import type { FinishReason } from '../messages/outputs.js';
import type { GenerateMessage, LogprobOptions, SamplingParams } from '../messages/requests.js';

/** Numbers of the engine that requests are measured against. */
export type AdmissionLimits = Pick<RunnerLimits, 'contextLength' | 'vocabSize' | 'numBlocks' | 'blockSize' | 'lists'>;

export function aborted(message: string, statusCode: number, errType: string): FinishReason {
  return { type: 'abort', message, statusCode, errType };
}

/** Tokens of KV cache. */
export function kvCapacity(limits: AdmissionLimits): number {
  return limits.numBlocks * limits.blockSize;
}

/** Why the request cannot be run, or null. `eosTokenIds`: what ends a generation, unless it ignores them. */
export function refusal(
  message: GenerateMessage,
  limits: AdmissionLimits,
  eosTokenIds: readonly number[],
): FinishReason | null {
  const problem =
    lengthProblem(message, limits) ??
    promptProblem(message.inputIds, limits.vocabSize) ??
    samplingProblem(message.sampling, limits.vocabSize) ??
    logprobProblem(message.logprobs, message.inputIds.length, limits.vocabSize) ??
    listProblem(message, limits.lists, eosTokenIds, limits.vocabSize);
  return problem === null ? null : aborted(problem, 400, 'BadRequestError');
}

function lengthProblem({ inputIds, sampling }: GenerateMessage, limits: AdmissionLimits): string | null {
  const { contextLength } = limits;
  const prompt = inputIds.length;
  const { maxNewTokens } = sampling;
  if (prompt === 0) return 'The prompt is empty: expected at least one token.';
  if (!isCount(maxNewTokens) || !isCount(sampling.minNewTokens)) {
    return `Expected whole numbers of new tokens, got ${sampling.minNewTokens} to ${maxNewTokens}.`;
  }
  if (prompt > contextLength) {
    return `The prompt has ${prompt} tokens, but the context of the model holds ${contextLength}.`;
  }
  if (prompt + maxNewTokens > contextLength) {
    return (
      `The request needs ${prompt + maxNewTokens} tokens (${prompt} of the prompt and ${maxNewTokens} new ones), ` +
      `but the context of the model holds ${contextLength}.`
    );
  }
  const capacity = kvCapacity(limits);
  if (prompt > capacity) return `The prompt has ${prompt} tokens, but the KV cache holds ${capacity}.`;
  return null;
}

function promptProblem(ids: readonly number[], vocabSize: number): string | null {
  const at = ids.findIndex((id) => !isTokenId(id, vocabSize));
  return at < 0 ? null : `Token ${at} of the prompt: expected an id from 0 to ${vocabSize - 1}, got ${ids[at]}.`;
}

function samplingProblem(sampling: SamplingParams, vocabSize: number): string | null {
  const { temperature, topK, topP, minP, seed, logitBias } = sampling;
  const { frequencyPenalty, presencePenalty, repetitionPenalty } = sampling;
  const checks: readonly (readonly [ok: boolean, name: string, expected: string, got: unknown])[] = [
    [Number.isFinite(temperature) && temperature >= 0, 'temperature', 'a number from 0', temperature],
    [topK === -1 || (isCount(topK) && topK > 0), 'top_k', '-1 or a positive whole number', topK],
    [topP > 0 && topP <= 1, 'top_p', 'a number in (0, 1]', topP],
    [minP >= 0 && minP <= 1, 'min_p', 'a number in [0, 1]', minP],
    [Number.isFinite(frequencyPenalty), 'frequency_penalty', 'a finite number', frequencyPenalty],
    [Number.isFinite(presencePenalty), 'presence_penalty', 'a finite number', presencePenalty],
    [
      Number.isFinite(repetitionPenalty) && repetitionPenalty > 0,
      'repetition_penalty',
      'a positive number',
      repetitionPenalty,
    ],
    [isCount(seed), 'seed', 'a whole number from 0', seed],
  ];
  const failed = checks.find(([ok]) => !ok);
  if (failed !== undefined) return `${failed[1]}: expected ${failed[2]}, got ${failed[3]}.`;
  const wrong = logitBias.find(([id, value]) => !isTokenId(id, vocabSize) || !(value < Number.POSITIVE_INFINITY));
  return wrong === undefined
    ? null
    : `logit_bias: expected ids from 0 to ${vocabSize - 1} and numbers below Infinity, got ${wrong[0]}: ${wrong[1]}.`;
}

function logprobProblem(logprobs: LogprobOptions | null, promptLen: number, vocabSize: number): string | null {
  if (logprobs === null) return null;
  const { startLen, topCount, tokenIds } = logprobs;
  if (!Number.isInteger(startLen) || startLen < -1 || startLen > promptLen) {
    return `logprob_start_len: expected -1 to ${promptLen} (the prompt's length), got ${startLen}.`;
  }
  if (!isCount(topCount) || topCount > vocabSize) {
    return `top_logprobs_num: expected 0 to ${vocabSize}, got ${topCount}.`;
  }
  const wrong = tokenIds.find((id) => !isTokenId(id, vocabSize));
  return wrong === undefined ? null : `token_ids_logprob: expected ids from 0 to ${vocabSize - 1}, got ${wrong}.`;
}

function listProblem(
  { sampling, logprobs }: GenerateMessage,
  { biasIds, rowLogprobs }: ListLimits,
  eosTokenIds: readonly number[],
  vocabSize: number,
): string | null {
  const { logitBias, minNewTokens, stopTokenIds, ignoreEos } = sampling;
  const biased = new Set(logitBias.map(([id]) => id));
  const stops = new Set([...stopTokenIds, ...(ignoreEos ? [] : eosTokenIds)].filter((id) => id < vocabSize));
  const heldBack = minNewTokens > 0 ? [...stops].filter((id) => !biased.has(id)).length : 0;
  if (logitBias.length + heldBack > biasIds) {
    const withStops = heldBack > 0 ? ` and ${heldBack} stop tokens, which min_new_tokens holds back` : '';
    return `logit_bias: expected at most ${biasIds} ids on a GPU, got ${logitBias.length}${withStops}.`;
  }
  if (logprobs === null) return null;
  const { topCount, tokenIds } = logprobs;
  const numbers = 2 * topCount + tokenIds.length;
  if (numbers <= rowLogprobs) return null;
  return (
    `top_logprobs_num and token_ids_logprob: expected 2 * top_logprobs_num + the number of ids to be at most ` +
    `${rowLogprobs} on a GPU, got ${topCount} and ${tokenIds.length} ids.`
  );
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isTokenId(id: number, vocabSize: number): boolean {
  return Number.isInteger(id) && id >= 0 && id < vocabSize;
}

// What users of the library ask for, and its translation into the front end's terms.
import { FieldReader } from '../frontend/field-reader.js';
import type { GenerateRequest, Prompt } from '../frontend/generate-request.js';
import { parseSamplingParams, readTokenIds } from '../frontend/sampling-params.js';
import type { LogprobOptions } from '../messages/requests.js';
import type { ChatMessage } from '../tokenizer/chat-message.js';
import { VitrineError } from '../util/errors.js';
import type { JsonObject } from '../util/read-json.js';

/** How tokens are chosen and when generation ends. The same parameters as `sampling_params` of `/generate`. */
export interface SamplingOptions {
  /** Most tokens to generate. Default: 128, or what fits if that is less (`chat`: as many as fit). null: as many as fit. */
  readonly maxNewTokens?: number | null;
  /** Stop tokens and stop strings do not count before this many tokens. Default 0. */
  readonly minNewTokens?: number;
  /** Below 1e-6 the most likely token is taken each time. Default 1. */
  readonly temperature?: number;
  /** In (0, 1]. Default 1. */
  readonly topP?: number;
  /** -1 (default): all tokens. */
  readonly topK?: number;
  /** In [0, 1]. Default 0. */
  readonly minP?: number;
  /** In [-2, 2]. Default 0. */
  readonly frequencyPenalty?: number;
  /** In [-2, 2]. Default 0. */
  readonly presencePenalty?: number;
  /** In [0, 2]. Default 1. */
  readonly repetitionPenalty?: number;
  /** Token id → what is added to its logit. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** Texts that end the generation; they are not part of the output text unless `noStopTrim` is set. */
  readonly stop?: string | readonly string[];
  readonly stopTokenIds?: readonly number[];
  /** Go on after the model's end-of-sequence token. Default false. */
  readonly ignoreEos?: boolean;
  /** Keep the stop string or stop token in the text. Default false. */
  readonly noStopTrim?: boolean;
  /** Default true. */
  readonly skipSpecialTokens?: boolean;
  /** The same seed repeats the output. Default: drawn (from `randomSeed`, if that is set). */
  readonly seed?: number;
  /** Outputs to generate from one prompt; output i uses seed + i. Default 1. */
  readonly n?: number;
}

/** Which log-probabilities to return, of the raw model distribution. */
export interface LogprobRequest {
  /** First prompt position to score; -1 (default): only the output. */
  readonly startLen?: number;
  /** How many of the most likely tokens per position. Default 0. */
  readonly topCount?: number;
  /** Tokens to score at every position. */
  readonly tokenIds?: readonly number[];
}

interface CommonRequest {
  readonly samplingParams?: SamplingOptions;
  readonly logprobs?: LogprobRequest;
  /** Aborts the request; the output then ends with a `finishReason` of type `abort`. */
  readonly signal?: AbortSignal;
}

export type EngineRequest = CommonRequest &
  (
    | { readonly prompt: string; readonly inputIds?: undefined }
    /** Token ids, at least one. */
    | { readonly inputIds: readonly number[]; readonly prompt?: undefined }
  );

export interface ChatRequest extends CommonRequest {
  readonly messages: readonly ChatMessage[];
  /** More variables of the chat template, e.g. `{ enable_thinking: false }`. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

const SAMPLING_KEYS: Readonly<Record<keyof SamplingOptions, string>> = {
  maxNewTokens: 'max_new_tokens',
  minNewTokens: 'min_new_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  minP: 'min_p',
  frequencyPenalty: 'frequency_penalty',
  presencePenalty: 'presence_penalty',
  repetitionPenalty: 'repetition_penalty',
  logitBias: 'logit_bias',
  stop: 'stop',
  stopTokenIds: 'stop_token_ids',
  ignoreEos: 'ignore_eos',
  noStopTrim: 'no_stop_trim',
  skipSpecialTokens: 'skip_special_tokens',
  seed: 'sampling_seed',
  n: 'n',
};
const OPTION_NAMES = new Map(Object.entries(SAMPLING_KEYS).map(([name, key]) => [key, name]));

/** Errors: INVALID_REQUEST, naming the option as the caller wrote it. */
export function toGenerateRequest(
  prompt: Prompt,
  request: CommonRequest,
  defaultMaxNewTokens: number,
  vocabSize: number,
): GenerateRequest {
  const raw: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(request.samplingParams ?? {})) {
    const key = Object.hasOwn(SAMPLING_KEYS, name) ? SAMPLING_KEYS[name as keyof SamplingOptions] : undefined;
    if (key === undefined) {
      throw new VitrineError('INVALID_REQUEST', `samplingParams.${name} is not a sampling parameter.`, { param: name });
    }
    if (value !== undefined) raw[key] = value;
  }
  const label = (key: string) => `samplingParams.${OPTION_NAMES.get(key) ?? key}`;
  return {
    prompt,
    sampling: parseSamplingParams(raw, { vocabSize, label }),
    defaultMaxNewTokens,
    logprobs: toLogprobOptions(request.logprobs, vocabSize),
  };
}

/**
 * Sampling parameters under the names of `/generate` (`max_new_tokens`, …) as options of the library; values are not
 * checked. Error: INVALID_REQUEST for a name that the library does not have.
 */
export function fromWireSampling(raw: JsonObject): SamplingOptions {
  const entries = Object.entries(raw).map(([key, value]) => {
    const name = OPTION_NAMES.get(key);
    if (name !== undefined) return [name, value];
    throw new VitrineError('INVALID_REQUEST', `${key} is not a sampling parameter.`, { param: key });
  });
  return Object.fromEntries(entries);
}

function toLogprobOptions(logprobs: LogprobRequest | undefined, vocabSize: number): LogprobOptions | null {
  if (logprobs === undefined) return null;
  const fields = new FieldReader(logprobs as JsonObject, (key) => `logprobs.${key}`);
  return {
    startLen: fields.integer('startLen', { min: -1 }) ?? -1,
    topCount: fields.integer('topCount', { min: 0, max: vocabSize }) ?? 0,
    tokenIds: readTokenIds(fields, 'tokenIds', vocabSize),
  };
}

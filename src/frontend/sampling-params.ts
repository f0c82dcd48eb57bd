// A raw `sampling_params` object → checked parameters. Names, defaults and ranges are SGLang's (its SamplingParams class);
// generation_config.json plays no part here.
import type { SamplingParams } from '../messages/requests.js';
import { isJsonObject, type JsonObject } from '../util/read-json.js';
import { FieldReader } from './field-reader.js';

/** What one request asks for, before prompt length, seed and number of choices are settled. */
export interface RequestedSampling {
  readonly params: Omit<SamplingParams, 'maxNewTokens' | 'seed'>;
  /** `undefined`: the route's default; `Infinity`: as many as fit. */
  readonly maxNewTokens: number | undefined;
  /** `undefined`: drawn. */
  readonly seed: number | undefined;
  /** How many outputs; output i is sampled with seed + i. */
  readonly n: number;
  /** Texts that end the generation; none is empty. */
  readonly stop: readonly string[];
  /** Keep the stop string or stop token in the text. */
  readonly noStopTrim: boolean;
  readonly skipSpecialTokens: boolean;
  readonly spacesBetweenSpecialTokens: boolean;
  /** Tokens per streamed chunk; `undefined`: the server's. */
  readonly streamInterval: number | undefined;
}

/** Below it, sampling is greedy. */
const GREEDY_TEMPERATURE = 1e-6;
/** SGLang allows 0, which would make logits infinite; this has the same effect and keeps them finite. */
const SMALLEST_REPETITION_PENALTY = 2 ** -20;
const SEED_RANGE = 2 ** 53;
export const MAX_CHOICES = 1024;

const KNOWN_KEYS = new Set([
  'max_new_tokens',
  'stop',
  'stop_token_ids',
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'frequency_penalty',
  'presence_penalty',
  'repetition_penalty',
  'min_new_tokens',
  'n',
  'ignore_eos',
  'skip_special_tokens',
  'spaces_between_special_tokens',
  'no_stop_trim',
  'stream_interval',
  'logit_bias',
  'sampling_seed',
]);

/** Constrained decoding and the like: legal in SGLang, refused here when set. */
const UNSUPPORTED_KEYS = ['stop_regex', 'json_schema', 'regex', 'ebnf', 'structural_tag', 'custom_params'];

export interface SamplingParseOptions {
  /** Token ids must be below it. */
  readonly vocabSize: number;
  /** How a key is called in messages. Default: `sampling_params.<key>`. */
  readonly label?: (key: string) => string;
}

/** Errors: INVALID_REQUEST, naming the field. */
export function parseSamplingParams(raw: JsonObject, options: SamplingParseOptions): RequestedSampling {
  const { vocabSize, label = (key) => `sampling_params.${key}` } = options;
  const fields = new FieldReader(raw, label);
  for (const key of UNSUPPORTED_KEYS) fields.refuse(key);
  const unknown = fields.keys.find((key) => !KNOWN_KEYS.has(key) && !UNSUPPORTED_KEYS.includes(key));
  if (unknown !== undefined) throw fields.invalid(unknown, 'is not a sampling parameter');

  const temperature = fields.number('temperature', { min: 0 }) ?? 1;
  const topK = fields.integer('top_k', { min: -1 }) ?? -1;
  if (topK === 0) throw fields.invalid('top_k', 'must be -1 (all tokens) or at least 1, got 0');
  const maxNewTokens = fields.isNull('max_new_tokens')
    ? Number.POSITIVE_INFINITY
    : fields.integer('max_new_tokens', { min: 0 });
  const minNewTokens = fields.integer('min_new_tokens', { min: 0 }) ?? 0;
  if (maxNewTokens !== undefined && minNewTokens > maxNewTokens) {
    const limit = `${label('max_new_tokens')} (${maxNewTokens})`;
    throw fields.invalid('min_new_tokens', `must be at most ${limit}, got ${minNewTokens}`);
  }
  const repetitionPenalty = fields.number('repetition_penalty', { min: 0, max: 2 }) ?? 1;
  return {
    params: {
      minNewTokens,
      temperature: temperature < GREEDY_TEMPERATURE ? 0 : temperature,
      topK,
      topP: fields.number('top_p', { min: 0, max: 1, aboveMin: true }) ?? 1,
      minP: fields.number('min_p', { min: 0, max: 1 }) ?? 0,
      frequencyPenalty: fields.number('frequency_penalty', { min: -2, max: 2 }) ?? 0,
      presencePenalty: fields.number('presence_penalty', { min: -2, max: 2 }) ?? 0,
      repetitionPenalty: Math.max(repetitionPenalty, SMALLEST_REPETITION_PENALTY),
      logitBias: readLogitBias(fields, vocabSize),
      stopTokenIds: readTokenIds(fields, 'stop_token_ids', vocabSize),
      ignoreEos: fields.boolean('ignore_eos') ?? false,
    },
    maxNewTokens,
    seed: readSeed(fields),
    n: fields.integer('n', { min: 1, max: MAX_CHOICES }) ?? 1,
    stop: readStop(fields),
    noStopTrim: fields.boolean('no_stop_trim') ?? false,
    skipSpecialTokens: fields.boolean('skip_special_tokens') ?? true,
    spacesBetweenSpecialTokens: fields.boolean('spaces_between_special_tokens') ?? true,
    streamInterval: fields.integer('stream_interval', { min: 1 }),
  };
}

/** Token ids below `vocabSize`; [] where the field is missing. */
export function readTokenIds(fields: FieldReader, key: string, vocabSize: number): readonly number[] {
  const ids = fields.integers(key) ?? [];
  const index = ids.findIndex((id) => id < 0 || id >= vocabSize);
  if (index < 0) return ids;
  throw fields.invalid(`${key}[${index}]`, `must be a token id in [0, ${vocabSize}), got ${ids[index]}`);
}

function readStop(fields: FieldReader): readonly string[] {
  const value = fields.raw('stop');
  const stops = typeof value === 'string' ? [value] : (fields.strings('stop') ?? []);
  if (stops.includes('')) throw fields.invalid('stop', 'must not hold an empty string');
  return [...new Set(stops)];
}

function readLogitBias(fields: FieldReader, vocabSize: number): readonly (readonly [number, number])[] {
  const value = fields.raw('logit_bias');
  if (value === undefined) return [];
  if (!isJsonObject(value)) throw fields.shape('logit_bias', 'must be an object of token ids to numbers', value);
  const byId = new Map<number, number>();
  for (const [key, bias] of Object.entries(value)) {
    const id = Number(key);
    if (!/^\d+$/.test(key) || id >= vocabSize) {
      throw fields.invalid('logit_bias', `must have token ids in [0, ${vocabSize}) as keys, got "${key}"`);
    }
    if (typeof bias !== 'number' || !Number.isFinite(bias)) {
      throw fields.shape(`logit_bias.${key}`, 'must be a number', bias);
    }
    byId.set(id, bias);
  }
  return [...byId];
}

/** Any integer; folded into the 53 bits that a seed has. */
function readSeed(fields: FieldReader): number | undefined {
  const seed = fields.integer('sampling_seed');
  if (seed === undefined) return undefined;
  const folded = seed % SEED_RANGE;
  return folded < 0 ? folded + SEED_RANGE : folded;
}

/** The seed of output `index` of a request: consecutive, and exact at the end of the 53 bits too. */
export function seedOf(seed: number, index: number): number {
  const beyond = seed - (SEED_RANGE - index);
  return beyond >= 0 ? beyond : seed + index;
}

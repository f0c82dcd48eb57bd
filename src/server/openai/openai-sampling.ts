// Sampling fields of the OpenAI routes → sampling parameters: OpenAI's names, and SGLang's extensions of them.
import type { FieldReader } from '../../frontend/field-reader.js';
import { parseSamplingParams, type RequestedSampling } from '../../frontend/sampling-params.js';
import type { ServedModel } from '../served-model.js';

/** Field of the request → sampling parameter. */
const FIELDS: Readonly<Record<string, string>> = {
  temperature: 'temperature',
  top_p: 'top_p',
  top_k: 'top_k',
  min_p: 'min_p',
  n: 'n',
  stop: 'stop',
  stop_token_ids: 'stop_token_ids',
  seed: 'sampling_seed',
  frequency_penalty: 'frequency_penalty',
  presence_penalty: 'presence_penalty',
  repetition_penalty: 'repetition_penalty',
  logit_bias: 'logit_bias',
  ignore_eos: 'ignore_eos',
  min_tokens: 'min_new_tokens',
  skip_special_tokens: 'skip_special_tokens',
  no_stop_trim: 'no_stop_trim',
};

/** What SGLang's OpenAI routes have and this server has not. */
const UNSUPPORTED = [
  'regex',
  'ebnf',
  'json_schema',
  'structural_tag',
  'stop_regex',
  'custom_params',
  'lora_path',
  'custom_logit_processor',
  'return_hidden_states',
  'return_routed_experts',
  'session_params',
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'routed_dp_rank',
  'data_parallel_rank',
  'disagg_prefill_dp_rank',
  'image_data',
  'priority',
  'extra_key',
  'cache_salt',
];

export interface OpenAiSamplingOptions {
  readonly vocabSize: number;
  readonly model: ServedModel;
  /** Names of the field that limits the output, the preferred one first. */
  readonly maxTokensFields: readonly string[];
}

/** Without a limit the output may be as long as the context allows. Errors: INVALID_REQUEST, naming the field. */
export function readOpenAiSampling(fields: FieldReader, options: OpenAiSamplingOptions): RequestedSampling {
  for (const key of UNSUPPORTED) fields.refuse(key);
  refuseResponseFormat(fields);
  const raw: Record<string, unknown> = { ...options.model.samplingDefaults };
  const names = new Map<string, string>();
  for (const [field, parameter] of Object.entries(FIELDS)) {
    const value = fields.raw(field);
    if (value !== undefined) raw[parameter] = value;
    names.set(parameter, field);
  }
  const limit = options.maxTokensFields.find((field) => fields.raw(field) !== undefined);
  if (limit !== undefined) raw.max_new_tokens = fields.raw(limit);
  names.set('max_new_tokens', limit ?? options.maxTokensFields[0]!);
  return parseSamplingParams(raw, { vocabSize: options.vocabSize, label: (key) => names.get(key) ?? key });
}

function refuseResponseFormat(fields: FieldReader): void {
  const format = fields.object('response_format');
  if (format === undefined || format.type === 'text') return;
  throw fields.invalid('response_format', `must have the type "text", got ${JSON.stringify(format.type)}`);
}

export interface StreamOptions {
  readonly stream: boolean;
  /** A last chunk without choices tells the usage. */
  readonly includeUsage: boolean;
  /** Every chunk tells the usage so far. */
  readonly continuousUsage: boolean;
}

export function readStreamOptions(fields: FieldReader): StreamOptions {
  const options = fields.object('stream_options') ?? {};
  for (const key of ['include_usage', 'continuous_usage_stats']) {
    const value = options[key];
    if (value !== undefined && value !== null && typeof value !== 'boolean') {
      throw fields.shape(`stream_options.${key}`, 'must be true or false', value);
    }
  }
  return {
    stream: fields.boolean('stream') ?? false,
    includeUsage: options.include_usage === true,
    continuousUsage: options.continuous_usage_stats === true,
  };
}

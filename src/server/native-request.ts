// The body of /generate → requests. Keys that nobody knows are ignored, as in SGLang; keys that ask for what is not
// supported are refused.
import { FieldReader, RequestShapeError } from '../frontend/field-reader.js';
import type { GenerateRequest, Prompt } from '../frontend/generate-request.js';
import { parseSamplingParams, readTokenIds } from '../frontend/sampling-params.js';
import type { LogprobOptions } from '../messages/requests.js';
import { VitrineError } from '../util/errors.js';
import { isJsonObject } from '../util/read-json.js';

export interface NativeRequest {
  /** One per prompt. */
  readonly requests: readonly GenerateRequest[];
  /** One prompt, not in a list: the reply is an object, not a list (unless n > 1). */
  readonly single: boolean;
  readonly stream: boolean;
  readonly textInLogprobs: boolean;
}

const DEFAULT_NEW_TOKENS = 128;

const UNSUPPORTED = [
  'input_embeds',
  'image_data',
  'video_data',
  'audio_data',
  'lora_path',
  'lora_id',
  'return_hidden_states',
  'return_routed_experts',
  'session_params',
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'bootstrap_pair_key',
  'decode_tp_size',
  'routed_dp_rank',
  'disagg_prefill_dp_rank',
  'data_parallel_rank',
  'custom_logit_processor',
  'priority',
  'extra_key',
];

/** Errors: RequestShapeError for a wrong type, else INVALID_REQUEST. */
export function parseNativeRequest(body: unknown, vocabSize: number): NativeRequest {
  const fields = FieldReader.ofBody(body);
  for (const key of UNSUPPORTED) fields.refuse(key);
  const { prompts, single } = readPrompts(fields);
  const count = prompts.length;
  const rid = readRids(fields, single, count);
  const sampling = readPerPrompt(fields, 'sampling_params', count, Array.isArray(fields.raw('sampling_params')));
  const logprobs = new LogprobFields(fields, count, single, vocabSize);
  const requests = prompts.map((prompt, i): GenerateRequest => {
    const raw = sampling(i) ?? {};
    if (!isJsonObject(raw)) throw fields.shape('sampling_params', 'must be an object', raw);
    return {
      ...rid(i),
      prompt,
      sampling: parseSamplingParams(raw, { vocabSize }),
      defaultMaxNewTokens: DEFAULT_NEW_TOKENS,
      logprobs: logprobs.of(i),
    };
  });
  return {
    requests,
    single,
    stream: fields.boolean('stream') ?? false,
    textInLogprobs: fields.boolean('return_text_in_logprobs') ?? false,
  };
}

function readPrompts(fields: FieldReader): { prompts: Prompt[]; single: boolean } {
  const text = fields.raw('text');
  const ids = fields.raw('input_ids');
  if ((text === undefined) === (ids === undefined)) {
    throw new VitrineError('INVALID_REQUEST', 'Exactly one of text and input_ids must be given.', { param: 'text' });
  }
  if (typeof text === 'string') return { prompts: [{ text, addSpecialTokens: true }], single: true };
  if (text !== undefined) {
    if (!Array.isArray(text)) throw fields.shape('text', 'must be a string or an array of strings', text);
    const prompts = fields.strings('text')!.map((one) => ({ text: one, addSpecialTokens: true }));
    return { prompts: notEmpty(prompts, 'text'), single: false };
  }
  if (!Array.isArray(ids)) throw fields.shape('input_ids', 'must be an array of token ids or an array of such', ids);
  if (!Array.isArray(ids[0])) return { prompts: [{ inputIds: fields.integers('input_ids')! }], single: true };
  const prompts = ids.map((_, i) => ({ inputIds: readIdList(ids, i) }));
  return { prompts: notEmpty(prompts, 'input_ids'), single: false };
}

function readIdList(lists: readonly unknown[], index: number): readonly number[] {
  const key = `input_ids[${index}]`;
  return new FieldReader({ [key]: lists[index] }).integers(key) ?? [];
}

function notEmpty(prompts: Prompt[], key: string): Prompt[] {
  if (prompts.length > 0) return prompts;
  throw new VitrineError('INVALID_REQUEST', `${key} must hold at least one prompt.`, { param: key });
}

/** A list of ids, or one id that a batch extends by `_<i>`. */
function readRids(fields: FieldReader, single: boolean, count: number): (i: number) => Partial<GenerateRequest> {
  const raw = fields.raw('rid');
  if (raw === undefined) return () => ({});
  if (!Array.isArray(raw)) {
    const rid = fields.string('rid')!;
    return single ? () => ({ rid }) : (i) => ({ rid: `${rid}_${i}`, family: rid });
  }
  const rids = fields.strings('rid')!;
  checkCount('rid', rids.length, count);
  return (i) => ({ rid: rids[i]! });
}

/** A value for all prompts or, where it is a list of them, one for each. */
function readPerPrompt(fields: FieldReader, key: string, count: number, isList: boolean): (i: number) => unknown {
  const raw = fields.raw(key);
  if (!isList) return () => raw;
  const list = raw as readonly unknown[];
  checkCount(key, list.length, count);
  return (i) => list[i];
}

function checkCount(key: string, given: number, expected: number): void {
  if (given === expected) return;
  const message = `${key} must have one element per prompt (${expected}), got ${given}.`;
  throw new VitrineError('INVALID_REQUEST', message, { param: key });
}

/** return_logprob, logprob_start_len, top_logprobs_num and token_ids_logprob: scalars, or lists in a batch. */
class LogprobFields {
  readonly #vocabSize: number;
  readonly #wanted: (i: number) => unknown;
  readonly #startLen: (i: number) => unknown;
  readonly #topCount: (i: number) => unknown;
  readonly #tokenIds: (i: number) => unknown;

  constructor(fields: FieldReader, count: number, single: boolean, vocabSize: number) {
    const perPrompt = (key: string, isList: (value: unknown) => boolean) => {
      const listed = isList(fields.raw(key));
      if (listed && single) throw new RequestShapeError(`${key} must not be a list: there is one prompt.`, key);
      return readPerPrompt(fields, key, count, listed);
    };
    this.#vocabSize = vocabSize;
    this.#wanted = perPrompt('return_logprob', Array.isArray);
    this.#startLen = perPrompt('logprob_start_len', Array.isArray);
    this.#topCount = perPrompt('top_logprobs_num', Array.isArray);
    this.#tokenIds = perPrompt(
      'token_ids_logprob',
      (value) => Array.isArray(value) && value.some((element) => Array.isArray(element) || element === null),
    );
  }

  of(i: number): LogprobOptions | null {
    const fields = new FieldReader({
      return_logprob: this.#wanted(i),
      logprob_start_len: this.#startLen(i),
      top_logprobs_num: this.#topCount(i),
      token_ids_logprob: this.#tokenIds(i),
    });
    const options = {
      startLen: fields.integer('logprob_start_len', { min: -1 }) ?? -1,
      topCount: fields.integer('top_logprobs_num', { min: 0, max: this.#vocabSize }) ?? 0,
      tokenIds: readTokenIds(fields, 'token_ids_logprob', this.#vocabSize),
    };
    return fields.boolean('return_logprob') ? options : null;
  }
}

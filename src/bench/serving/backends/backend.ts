// The dialect of a server: how a request is written and how its answer is read.
import type { JsonObject } from '../../../util/read-json.js';
import type { BenchRequest, Prompt } from '../../datasets/bench-request.js';

export interface PayloadSettings {
  /** `model` field of the dialects that have one. */
  readonly model: string;
  readonly stream: boolean;
  readonly ignoreEos: boolean;
  /** undefined: greedy, as the dialect says it. */
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  readonly returnLogprob: boolean;
  /** First prompt position with log-probabilities; -1: those of the output alone. */
  readonly logprobStartLen: number;
  readonly topLogprobsNum: number | undefined;
  readonly tokenIdsLogprob: readonly number[] | undefined;
  readonly returnRoutedExperts: boolean;
  /** Laid over the top level of every payload. */
  readonly extraBody: JsonObject;
}

/** What one event of a stream, or a whole answer, brings. */
export interface AnswerPart {
  /** Text since the last part. */
  readonly newText: string;
  /** Instead of `newText`, in dialects that repeat all text with every part: decoded for the last part alone. */
  readonly wholeText?: (() => string) | undefined;
  /** SGLang's test whether the part counts as a token chunk for TTFT and ITL. */
  readonly countsAsToken: boolean;
  /** Whether it is known to carry a token, shown as text or not. */
  readonly carriesToken: boolean;
  /** Generated tokens so far, by the server. */
  readonly completionTokens?: number | undefined;
  readonly promptTokens?: number | undefined;
  /** Prompt tokens that came from the server's prefix cache. */
  readonly cachedTokens?: number | undefined;
  /** The server said why it ended. */
  readonly finished: boolean;
  /** The request failed inside a stream that began well. */
  readonly error?: string | undefined;
}

/** Reads the answer of one request. Throws SyntaxError for what is no JSON, Error for what is not of the dialect. */
export type AnswerReader = (payload: Buffer) => AnswerPart;

export type PromptKind = 'text' | 'token ids' | 'messages';

export interface Backend {
  readonly path: string;
  readonly prompts: readonly PromptKind[];
  /** True: each part says how many tokens there are, and its gap is shared among the new ones. */
  readonly countsTokens: boolean;
  /** The answer says how many prompt tokens came from the prefix cache, where the server wants to. */
  readonly reportsCache: boolean;
  /** Whether it also answers in one piece. */
  readonly answersWhole: boolean;
  /** A good stream says why it ended; false: it may just close. */
  readonly namesEnd: boolean;
  payload(request: BenchRequest, settings: PayloadSettings): JsonObject;
  /** A reader for one answer. */
  reader(): AnswerReader;
}

export function promptKind(prompt: Prompt): PromptKind {
  if (typeof prompt === 'string') return 'text';
  return typeof prompt[0] === 'object' ? 'messages' : 'token ids';
}

/** The dialect's payload under what the request and then the user want differently. */
export function overlay(payload: JsonObject, request: BenchRequest, settings: PayloadSettings): JsonObject {
  return { ...payload, ...request.body, ...settings.extraBody };
}

/** `{ [key]: value }`, or nothing for undefined. */
export function given(key: string, value: unknown): JsonObject {
  return value === undefined ? {} : { [key]: value };
}

export function failedPart(error: string): AnswerPart {
  return { newText: '', countsAsToken: false, carriesToken: false, finished: true, error };
}

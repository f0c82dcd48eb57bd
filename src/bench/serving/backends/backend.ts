// The dialect of a server: how a request is written and how its answer is read.
import type { BenchRequest } from '../../datasets/bench-request.js';

export interface PayloadSettings {
  /** `model` field of the OpenAI dialects. */
  readonly model: string;
  readonly stream: boolean;
  readonly ignoreEos: boolean;
  readonly returnLogprob: boolean;
  /** Laid over the top level of the payload. */
  readonly extraBody: Readonly<Record<string, unknown>>;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** What one event of a stream, or a whole answer, brings. */
export interface AnswerPart {
  /** Text since the last part. */
  readonly newText: string;
  /** SGLang's test whether the part counts as a token chunk for TTFT and ITL. */
  readonly countsAsToken: boolean;
  /** Whether it is known to carry a token, shown as text or not. */
  readonly carriesToken: boolean;
  /** Generated tokens so far, by the server. */
  readonly completionTokens?: number;
  readonly promptTokens?: number;
  /** The server said why it ended. */
  readonly finished: boolean;
  /** The request failed inside a stream that began well. */
  readonly error?: string;
}

/** Reads the answer of one request. Throws an Error for what does not belong to the dialect. */
export type AnswerReader = (event: JsonObject) => AnswerPart;

export interface Backend {
  readonly path: string;
  /** True: each part says how many tokens there are, and its gap is shared among the new ones. */
  readonly countsTokens: boolean;
  payload(request: BenchRequest, settings: PayloadSettings): JsonObject;
  /** A reader for one answer. */
  reader(): AnswerReader;
}

// What the front end sends to a scheduler to have tokens generated. Plain data: it crosses process borders.

/** How the next token is chosen. Already validated and normalised by the front end. */
export interface SamplingParams {
  /** Upper bound of generated tokens, >= 0; already clamped so that prompt + new tokens fit the context. */
  readonly maxNewTokens: number;
  /** Stop tokens (eos and `stopTokenIds`) are suppressed until this many tokens were generated. */
  readonly minNewTokens: number;
  /** 0 means greedy. */
  readonly temperature: number;
  /** Keep the k most likely tokens; -1 keeps all. */
  readonly topK: number;
  /** Nucleus mass in (0, 1]. */
  readonly topP: number;
  /** Drop tokens less likely than `minP` times the most likely one, in [0, 1]. */
  readonly minP: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  /** Divides positive and multiplies negative logits of generated tokens; 1 is off. */
  readonly repetitionPenalty: number;
  /** Pairs of token id and the amount added to its logit. */
  readonly logitBias: readonly (readonly [id: number, bias: number])[];
  /** Generation ends when one of these is sampled (the token is part of the output). */
  readonly stopTokenIds: readonly number[];
  /** True: the model's eos tokens do not end the generation. `stopTokenIds` still do. */
  readonly ignoreEos: boolean;
  /** 53-bit unsigned integer; with the position it fixes every random choice. */
  readonly seed: number;
}

/** Which log-probabilities to return: of the raw model distribution (temperature 1, before penalties). */
export interface LogprobOptions {
  /** First prompt position whose log-probability is returned; -1: none of the prompt. */
  readonly startLen: number;
  /** How many of the most likely tokens to return per position. */
  readonly topCount: number;
  /** Token ids whose log-probability is returned at every position. */
  readonly tokenIds: readonly number[];
}

export interface GenerateMessage {
  readonly kind: 'generate';
  /** Request id, unique among running requests. */
  readonly rid: string;
  /** Prompt, at least one token, every id inside the vocabulary. */
  readonly inputIds: readonly number[];
  readonly sampling: SamplingParams;
  readonly logprobs: LogprobOptions | null;
}

export interface AbortMessage {
  readonly kind: 'abort';
  readonly rid: string;
  /** Becomes the message of the final output; unused when the front end finished the request itself. */
  readonly reason: string;
}

// A "language model" of hash functions: what the fake engine computes, and, as pure functions of the tokens alone, what
// it should have computed. Its K and V of a token depend on all tokens before it, as in a real decoder.
import { GREEDY, type LogitBias, NO_BIAS, type RowSampling } from '#vitrine/engine/forward-batch.js';
import type { GenerateMessage } from '#vitrine/messages/requests.js';

export const FAKE_VOCAB_SIZE = 61;
export const FAKE_EOS_ID = 2;

function mix(a: number, b: number): number {
  let h = Math.imul(a ^ (b + 0x9e3779b9 + (a << 6) + (a >>> 2)), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}

/** What is stored for a token: from what is stored for its predecessor. */
export function nextState(previous: number, token: number, position: number): number {
  return mix(mix(previous, token), position);
}

/** Folds the stored states that a query sees, one after the other. */
export function attend(digest: number, state: number): number {
  return mix(digest, state);
}

export function logitsOf(digest: number): Float64Array {
  const logits = new Float64Array(FAKE_VOCAB_SIZE);
  for (let id = 0; id < logits.length; id++) logits[id] = ((mix(digest, id) >>> 0) / 2 ** 32) * 8 - 4;
  return logits;
}

export function logSoftmax(logits: Float64Array): Float64Array {
  let sum = 0;
  for (const value of logits) sum += Math.exp(value);
  return logits.map((value) => value - Math.log(sum));
}

/** Ids of the `count` largest values, best first, ties by lower id. */
export function topIds(values: Float64Array, count: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count);
}

/** The token chosen at `position`: a function of logits, parameters, seed, position and history. */
export function sampleToken(
  raw: Float64Array,
  sampling: RowSampling,
  bias: LogitBias,
  history: readonly number[],
  position: number,
): number {
  const logits = raw.slice();
  const counts = new Map<number, number>();
  for (const id of history) counts.set(id, (counts.get(id) ?? 0) + 1);
  for (const [id, count] of counts) {
    logits[id]! -= sampling.frequencyPenalty * count + sampling.presencePenalty;
    logits[id] = logits[id]! > 0 ? logits[id]! / sampling.repetitionPenalty : logits[id]! * sampling.repetitionPenalty;
  }
  for (let i = 0; i < bias.ids.length; i++) logits[bias.ids[i]!]! += bias.values[i]!;
  if (sampling.temperature === 0) return topIds(logits, 1)[0]!;
  const kept = sampling.topK === -1 ? logits.length : sampling.topK;
  const allowed = new Set(topIds(logits, kept));
  const seed = mix(sampling.seed | 0, Math.floor(sampling.seed / 2 ** 32));
  const scores = logits.map((value, id) => {
    if (!allowed.has(id)) return Number.NEGATIVE_INFINITY;
    const uniform = ((mix(mix(seed, position), id) >>> 0) + 0.5) / 2 ** 32;
    return value / sampling.temperature - Math.log(-Math.log(uniform)); // Gumbel
  });
  return topIds(scores, 1)[0]!;
}

type Pair = readonly [id: number, logprob: number];

/** Log-probabilities of one position, as a TokenLogprobs has them. */
export interface ExpectedLogprob {
  readonly id: number;
  readonly value: number | null;
  readonly top: readonly Pair[] | null;
  readonly watched: readonly Pair[] | null;
}

export interface ExpectedResult {
  readonly tokenIds: readonly number[];
  readonly finish:
    | { readonly type: 'stop'; readonly matched: number }
    | { readonly type: 'length'; readonly length: number };
  readonly input: readonly ExpectedLogprob[];
  readonly output: readonly ExpectedLogprob[];
}

/** What the request generates when nothing disturbs it; `capacity`: tokens of KV cache. */
export function expectedResult(
  { inputIds, sampling, logprobs }: GenerateMessage,
  capacity = Number.POSITIVE_INFINITY,
): ExpectedResult {
  const stops = new Set([...(sampling.ignoreEos ? [] : [FAKE_EOS_ID]), ...sampling.stopTokenIds]);
  const maxNewTokens = Math.min(sampling.maxNewTokens, capacity + 1 - inputIds.length);
  const row: RowSampling = { ...GREEDY, ...sampling };
  const scored = (digest: number, id: number): ExpectedLogprob => {
    const values = logSoftmax(logitsOf(digest));
    const pair = (other: number): Pair => [other, values[other]!];
    return {
      id,
      value: values[id]!,
      top: logprobs!.topCount > 0 ? topIds(values, logprobs!.topCount).map(pair) : null,
      watched: logprobs!.tokenIds.length > 0 ? logprobs!.tokenIds.map(pair) : null,
    };
  };

  const input: ExpectedLogprob[] = [];
  let state = 0;
  let digest = 0;
  inputIds.forEach((token, position) => {
    if (logprobs !== null && logprobs.startLen >= 0 && position >= logprobs.startLen) {
      input.push(position === 0 ? { id: token, value: null, top: null, watched: null } : scored(digest, token));
    }
    state = nextState(state, token, position);
    digest = attend(digest, state);
  });

  const tokenIds: number[] = [];
  const output: ExpectedLogprob[] = [];
  for (;;) {
    if (tokenIds.length >= maxNewTokens) {
      return { tokenIds, finish: { type: 'length', length: tokenIds.length }, input, output };
    }
    const suppressed = tokenIds.length < sampling.minNewTokens ? [...stops] : [];
    const bias: LogitBias =
      sampling.logitBias.length + suppressed.length === 0
        ? NO_BIAS
        : {
            ids: [...sampling.logitBias.map(([id]) => id), ...suppressed],
            values: [
              ...sampling.logitBias.map(([, value]) => value),
              ...suppressed.map(() => Number.NEGATIVE_INFINITY),
            ],
          };
    const position = inputIds.length + tokenIds.length;
    const token = sampleToken(logitsOf(digest), row, bias, tokenIds, position);
    if (logprobs !== null) output.push(scored(digest, token));
    tokenIds.push(token);
    if (stops.has(token) && tokenIds.length > sampling.minNewTokens) {
      return { tokenIds, finish: { type: 'stop', matched: token }, input, output };
    }
    state = nextState(state, token, position);
    digest = attend(digest, state);
  }
}

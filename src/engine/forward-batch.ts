// ForwardBatch: what one step computes, gathered by the scheduler and encoded into the buffer that goes down to C++.
import {
  DIRECTORY_START,
  FORWARD_BATCH_HEADER,
  FORWARD_BATCH_MAGIC,
  FORWARD_BATCH_SECTIONS,
  FORWARD_MODE,
  type ForwardBatchSection,
  type ForwardMode,
  HEADER_WORDS,
  LAYOUT_VERSION,
} from './forward-batch-layout.js';

/** How the sampling row of a request becomes a token; the defaults are greedy without any adjustment. */
export interface RowSampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  /** How many of the most likely tokens to return with log-probabilities. */
  readonly topLogprobs: number;
  /** Token ids whose log-probability is returned. */
  readonly watchIds: readonly number[];
}

export const GREEDY: RowSampling = {
  temperature: 0,
  topK: -1,
  topP: 1,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
  topLogprobs: 0,
  watchIds: [],
};

/** One request's part of a step. */
export interface ForwardRequest {
  /** Request slot. */
  readonly slot: number;
  /** Token ids of this step; -(s + 1) stands for the token last sampled in slot s. */
  readonly tokenIds: ArrayLike<number>;
  /** Position of tokenIds[0]. */
  readonly firstPosition: number;
  /** Block table covering positions 0 … firstPosition + tokenIds.length - 1 (it may be longer). */
  readonly blocks: ArrayLike<number>;
  /** REQUEST_FLAG bits. */
  readonly flags: number;
  /** Sample a token after the last one of this step. */
  readonly sample: boolean;
  /** Prompt log-probabilities: index into tokenIds and the id of the token that follows it; ascending. */
  readonly scored: readonly (readonly [index: number, target: number])[];
  readonly sampling: RowSampling;
  /** Added to logits before sampling; -Infinity suppresses. */
  readonly bias: readonly (readonly [id: number, value: number])[];
  /** Generated tokens for the penalties; read with REQUEST_FLAG.resetSlot. */
  readonly history: readonly number[];
}

export interface ForwardBatch {
  readonly stepId: number;
  readonly mode: ForwardMode;
  readonly blockSize: number;
  readonly requests: readonly ForwardRequest[];
}

type Lengths = Record<ForwardBatchSection, number>;

const SCALARS = [
  ['temperature', 'temperature'],
  ['topK', 'topK'],
  ['topP', 'topP'],
  ['minP', 'minP'],
  ['frequencyPenalty', 'frequencyPenalty'],
  ['presencePenalty', 'presencePenalty'],
  ['repetitionPenalty', 'repetitionPenalty'],
  ['topLogprobs', 'topLogprobs'],
] as const satisfies readonly (readonly [ForwardBatchSection, keyof RowSampling])[];

function measure(batch: ForwardBatch): Lengths {
  const { requests, blockSize } = batch;
  const lengths = Object.fromEntries(FORWARD_BATCH_SECTIONS.map((s) => [s.name, 0])) as Lengths;
  const count = requests.length;
  for (const r of requests) {
    const tokens = r.tokenIds.length;
    lengths.tokenIds += tokens;
    lengths.blocks += Math.ceil((r.firstPosition + tokens) / blockSize);
    lengths.rowTokens += r.scored.length + (r.sample ? 1 : 0);
    lengths.biasIds += r.bias.length;
    lengths.historyIds += r.history.length;
    lengths.watchIds += r.sampling.watchIds.length;
    if (r.sampling.seed !== 0) lengths.seeds = 2 * count;
    for (const [section, key] of SCALARS) if (r.sampling[key] !== GREEDY[key]) lengths[section] = count;
  }
  lengths.positions = lengths.kvSlots = lengths.tokenIds;
  lengths.reqSlots = lengths.seqLens = lengths.reqFlags = count;
  lengths.queryStart = lengths.blockStart = count + 1;
  lengths.rowRequests = lengths.rowTargets = lengths.rowTokens;
  if (lengths.biasIds > 0) lengths.biasStart = count + 1;
  lengths.biasValues = lengths.biasIds;
  if (lengths.historyIds > 0) lengths.historyStart = count + 1;
  if (lengths.watchIds > 0) lengths.watchStart = count + 1;
  return lengths;
}

/** The buffer for `NativeEngine.submit`. */
export function encodeForwardBatch(batch: ForwardBatch): ArrayBuffer {
  const { requests, blockSize } = batch;
  const lengths = measure(batch);
  let total = HEADER_WORDS;
  for (const section of FORWARD_BATCH_SECTIONS) total += lengths[section.name];

  const buffer = new ArrayBuffer(total * 4);
  const words = new Int32Array(buffer);
  const floats = new Float32Array(buffer);
  const at = {} as Lengths;
  let cursor = HEADER_WORDS;
  FORWARD_BATCH_SECTIONS.forEach((section, i) => {
    at[section.name] = cursor;
    words[DIRECTORY_START + 2 * i] = cursor;
    words[DIRECTORY_START + 2 * i + 1] = lengths[section.name];
    cursor += lengths[section.name];
  });

  const header: Record<(typeof FORWARD_BATCH_HEADER)[number], number> = {
    magic: FORWARD_BATCH_MAGIC,
    version: LAYOUT_VERSION,
    totalWords: total,
    stepId: batch.stepId,
    mode: FORWARD_MODE[batch.mode],
    numTokens: lengths.tokenIds,
    numRequests: requests.length,
    numLogitRows: lengths.rowTokens,
    blockSize,
  };
  FORWARD_BATCH_HEADER.forEach((name, i) => {
    words[i] = header[name];
  });

  let token = 0;
  let block = 0;
  let row = 0;
  let bias = 0;
  let history = 0;
  let watch = 0;
  for (let r = 0; r < requests.length; r++) {
    const request = requests[r]!;
    const { tokenIds, firstPosition, blocks, sampling } = request;
    const count = tokenIds.length;
    const end = firstPosition + count;
    words[at.reqSlots + r] = request.slot;
    words[at.seqLens + r] = end;
    words[at.reqFlags + r] = request.flags;
    words[at.queryStart + r] = token;
    words[at.blockStart + r] = block;
    for (let i = 0; i < count; i++) {
      const position = firstPosition + i;
      const blockIndex = (position / blockSize) | 0;
      words[at.tokenIds + token + i] = tokenIds[i]!;
      words[at.positions + token + i] = position;
      words[at.kvSlots + token + i] = blocks[blockIndex]! * blockSize + (position - blockIndex * blockSize);
    }
    const needed = Math.ceil(end / blockSize);
    for (let i = 0; i < needed; i++) words[at.blocks + block + i] = blocks[i]!;
    for (const [index, target] of request.scored) {
      words[at.rowTokens + row] = token + index;
      words[at.rowRequests + row] = r;
      words[at.rowTargets + row++] = target;
    }
    if (request.sample) {
      words[at.rowTokens + row] = token + count - 1;
      words[at.rowRequests + row] = r;
      words[at.rowTargets + row++] = -1;
    }
    token += count;
    block += needed;

    if (lengths.temperature > 0) floats[at.temperature + r] = sampling.temperature;
    if (lengths.topK > 0) words[at.topK + r] = sampling.topK;
    if (lengths.topP > 0) floats[at.topP + r] = sampling.topP;
    if (lengths.minP > 0) floats[at.minP + r] = sampling.minP;
    if (lengths.frequencyPenalty > 0) floats[at.frequencyPenalty + r] = sampling.frequencyPenalty;
    if (lengths.presencePenalty > 0) floats[at.presencePenalty + r] = sampling.presencePenalty;
    if (lengths.repetitionPenalty > 0) floats[at.repetitionPenalty + r] = sampling.repetitionPenalty;
    if (lengths.topLogprobs > 0) words[at.topLogprobs + r] = sampling.topLogprobs;
    if (lengths.seeds > 0) {
      words[at.seeds + 2 * r] = sampling.seed >>> 0;
      words[at.seeds + 2 * r + 1] = Math.floor(sampling.seed / 2 ** 32) >>> 0;
    }
    if (lengths.biasStart > 0) words[at.biasStart + r] = bias;
    for (const [id, value] of request.bias) {
      words[at.biasIds + bias] = id;
      floats[at.biasValues + bias++] = value;
    }
    if (lengths.historyStart > 0) words[at.historyStart + r] = history;
    for (const id of request.history) words[at.historyIds + history++] = id;
    if (lengths.watchStart > 0) words[at.watchStart + r] = watch;
    for (const id of sampling.watchIds) words[at.watchIds + watch++] = id;
  }
  const last = requests.length;
  words[at.queryStart + last] = token;
  words[at.blockStart + last] = block;
  if (lengths.biasStart > 0) words[at.biasStart + last] = bias;
  if (lengths.historyStart > 0) words[at.historyStart + last] = history;
  if (lengths.watchStart > 0) words[at.watchStart + last] = watch;
  return buffer;
}

// The layout of the two buffers that cross the boundary each step: ForwardBatch (down) and StepOutput (up).
// This table is the only definition: native/core/forward_batch_layout.h is generated from it (npm run generate).
//
// Both are sequences of 32-bit little-endian words: a header of HEADER_WORDS words, then sections. Header words
// [DIRECTORY_START + 2i, DIRECTORY_START + 2i + 1] hold the offset (in words) and length (in words) of section i.
// An optional section of length 0 means "the default for every request".

export const DIRECTORY_START = 16;
export const HEADER_WORDS = 96;
export const LAYOUT_VERSION = 3;

export type WordType = 'i32' | 'u32' | 'f32';

export interface SectionSpec {
  readonly name: string;
  readonly type: WordType;
  /** Length: T tokens, R requests, L logit rows, B block-table entries; n: free, bounded by its CSR. */
  readonly length: string;
  readonly optional: boolean;
  readonly doc: string;
}

const section = <const Name extends string>(
  name: Name,
  type: WordType,
  length: string,
  doc: string,
  optional = false,
) => ({ name, type, length, optional, doc }) satisfies SectionSpec;

/** Header words of both buffers; word 0 is the magic number, word 1 the version, word 2 the total length in words. */
export const FORWARD_BATCH_HEADER = [
  'magic',
  'version',
  'totalWords',
  'stepId',
  'mode',
  'numTokens',
  'numRequests',
  'numLogitRows',
  'blockSize',
  'profile',
] as const;

export const FORWARD_BATCH_MAGIC = 0x31424656; // "VFB1"
export const STEP_OUTPUT_MAGIC = 0x314f5356; // "VSO1"

/** What a step computes, for logs, traces and graph choice; the kernels look only at the lengths. */
export const FORWARD_MODE = { extend: 0, decode: 1, mixed: 2 } as const;
export type ForwardMode = keyof typeof FORWARD_MODE;

/** Values of the header word `profile`. */
export const PROFILE_STEP = {
  off: 0,
  /** Spans of this step's layers, ops and worker threads come back with it. */
  record: 1,
} as const;

/** Bits of the `reqFlags` section. */
export const REQUEST_FLAG = {
  /** Forget the slot's token history and load it from `historyIds`: the request (re)starts in this slot. */
  resetSlot: 1,
  /** Return log-probabilities for this request's logit rows. */
  returnLogprob: 2,
  /** Return the whole logit rows (tests, debugging). */
  returnLogits: 4,
  /** Keep the slot's history of sampled tokens: some penalty is on. */
  trackHistory: 8,
} as const;

export const FORWARD_BATCH_SECTIONS = [
  section('tokenIds', 'i32', 'T', 'token id, or -(s+1): the token last sampled in request slot s'),
  section('positions', 'i32', 'T', 'position in the sequence, from 0'),
  section('kvSlots', 'i32', 'T', 'where the token’s K and V go: block * blockSize + offset'),
  section('reqSlots', 'i32', 'R', 'persistent request slot (last sampled token, token history)'),
  section('queryStart', 'i32', 'R+1', 'CSR: first token of each request in this batch'),
  section('seqLens', 'i32', 'R', 'tokens in the KV cache after this step'),
  section('reqFlags', 'i32', 'R', 'REQUEST_FLAG bits'),
  section('blockStart', 'i32', 'R+1', 'CSR into `blocks`'),
  section('blocks', 'i32', 'B', 'block table: block ids in sequence order'),
  section('temperature', 'f32', 'R', '0 = greedy (default)', true),
  section('topK', 'i32', 'R', '-1 = off (default)', true),
  section('topP', 'f32', 'R', '1 = off (default)', true),
  section('minP', 'f32', 'R', '0 = off (default)', true),
  section('frequencyPenalty', 'f32', 'R', '0 = off (default)', true),
  section('presencePenalty', 'f32', 'R', '0 = off (default)', true),
  section('repetitionPenalty', 'f32', 'R', '1 = off (default)', true),
  section('seeds', 'u32', '2R', 'low and high word of the seed; 0 by default', true),
  section('topLogprobs', 'i32', 'R', 'how many most likely tokens to return; 0 by default', true),
  section('biasStart', 'i32', 'R+1', 'CSR into `biasIds` and `biasValues`', true),
  section('biasIds', 'i32', 'n', 'token id', true),
  section('biasValues', 'f32', 'n', 'added to the logit; -Infinity suppresses the token', true),
  section('historyStart', 'i32', 'R+1', 'CSR into `historyIds`', true),
  section('historyIds', 'i32', 'n', 'tokens generated so far, for penalties; read with resetSlot', true),
  section('watchStart', 'i32', 'R+1', 'CSR into `watchIds`', true),
  section('watchIds', 'i32', 'n', 'token ids whose log-probability is returned', true),
  section('rowTokens', 'i32', 'L', 'index of the token whose logits are computed; ascending'),
  section('rowRequests', 'i32', 'L', 'request (index in this batch) of the row'),
  section('rowTargets', 'i32', 'L', 'token id whose log-probability is wanted, or -1: sample here'),
] as const satisfies readonly SectionSpec[];

export const STEP_OUTPUT_HEADER = [
  'magic',
  'version',
  'totalWords',
  'stepId',
  'numRequests',
  'numLogitRows',
  'vocabSize',
  'startNsLow',
  'startNsHigh',
  'launchedNsLow',
  'launchedNsHigh',
  'endNsLow',
  'endNsHigh',
] as const;

export const STEP_OUTPUT_SECTIONS = [
  section('sampledIds', 'i32', 'R', 'sampled token, or -1 when the request has no sampling row'),
  section('rowLogprobs', 'f32', 'L', 'log-probability of the row’s target (or sampled token); NaN when not asked for'),
  section('topStart', 'i32', 'L+1', 'CSR into `topIds` and `topLogprobs`'),
  section('topIds', 'i32', 'n', 'most likely tokens, best first'),
  section('topLogprobs', 'f32', 'n', 'their log-probabilities'),
  section('watchStart', 'i32', 'L+1', 'CSR into `watchLogprobs`'),
  section('watchLogprobs', 'f32', 'n', 'log-probabilities of the request’s watchIds'),
  section('logitStart', 'i32', 'L+1', 'CSR into `logits`: vocabSize entries for rows that return logits, else none'),
  section('logits', 'f32', 'n', 'raw logits'),
] as const satisfies readonly SectionSpec[];

export type ForwardBatchSection = (typeof FORWARD_BATCH_SECTIONS)[number]['name'];
export type StepOutputSection = (typeof STEP_OUTPUT_SECTIONS)[number]['name'];

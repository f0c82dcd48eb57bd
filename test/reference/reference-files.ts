// The reference models in test/fixtures/models and what transformers computed for them (reference.json).
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type PreparedModel, prepareModel } from '#vitrine/model/prepare-model.js';

export interface ReferenceCase {
  readonly prompt_ids: readonly number[];
  readonly prompt_len: number;
  /** All logits of the last prompt position. */
  readonly last_logits: readonly number[];
  readonly top5: readonly { readonly id: number; readonly logprob: number }[];
  /** Entry t is log p(prompt[t] given prompt[:t]); entry 0 is null. */
  readonly prompt_logprobs: readonly (number | null)[];
  /** 24 argmax tokens, eos ignored. */
  readonly greedy_ids: readonly number[];
  readonly greedy_logprobs: readonly number[];
  /** Best logit minus second best at each greedy step. */
  readonly greedy_margins: readonly number[];
}

/** Only stories260K has these. */
export interface ReferenceTextCase {
  readonly prompt: string;
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly greedy_margins: readonly number[];
  readonly greedy_text: string;
  readonly full_text: string;
}

export interface Reference {
  readonly cases: readonly ReferenceCase[];
  readonly text_cases?: readonly ReferenceTextCase[];
}

const MODELS = fileURLToPath(new URL('../fixtures/models/', import.meta.url));

export const REFERENCE_MODELS: readonly string[] = readdirSync(MODELS).toSorted();

export function modelDirectory(name: string): string {
  return `${MODELS}${name}`;
}

export function readReference(name: string): Reference {
  return JSON.parse(readFileSync(`${MODELS}${name}/reference.json`, 'utf8')) as Reference;
}

/** Engine options with every default, for `prepareModel` in tests. */
export const ENGINE_DEFAULTS = {
  modelPath: '',
  revision: 'main',
  loadFormat: 'auto',
  weightCacheDir: undefined,
  jsonModelOverrideArgs: {},
  contextLength: undefined,
  dtype: 'auto',
  quantization: undefined,
  kvCacheDtype: 'auto',
  randomSeed: undefined,
  device: 'auto',
  baseGpuId: 0,
  cpuThreads: 0,
  cpuIsa: 'auto',
  pageSize: 16,
  maxTotalTokens: undefined,
  memFractionStatic: undefined,
  disableCudaGraph: false,
  cudaGraphMaxBs: undefined,
  cudaGraphBs: undefined,
} as const;

export function prepareReferenceModel(
  name: string,
  options: Partial<Parameters<typeof prepareModel>[0]> = {},
): Promise<PreparedModel> {
  return prepareModel({ ...ENGINE_DEFAULTS, modelPath: modelDirectory(name), ...options });
}

// What the routes tell about the model, and the sampling defaults that the OpenAI routes take from it.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { PreparedModel } from '../model/prepare-model.js';

export interface ServedModel {
  /** --model-path as given. */
  readonly path: string;
  /** Id on the OpenAI routes. */
  readonly name: string;
  /** A hub id, or the whole path of a folder: a client that runs elsewhere on this machine finds it too. */
  readonly tokenizerPath: string;
  readonly architecture: string;
  readonly modelType: string;
  readonly contextLength: number;
  /**
   * Sampling parameters of generation_config.json. As in SGLang (`--sampling-defaults model`) they apply to the OpenAI
   * routes only; `/generate` has fixed defaults.
   */
  readonly samplingDefaults: Readonly<Record<string, number>>;
}

const VALID: Readonly<Record<string, (value: number) => boolean>> = {
  temperature: (value) => value >= 0,
  top_p: (value) => value > 0 && value <= 1,
  top_k: (value) => Number.isInteger(value) && value >= 1,
  min_p: (value) => value >= 0 && value <= 1,
  repetition_penalty: (value) => value > 0 && value <= 2,
};

export interface ServedModelNames {
  readonly modelPath: string;
  readonly servedModelName: string | undefined;
  readonly tokenizerPath: string | undefined;
}

export function describeModel(model: PreparedModel, names: ServedModelNames): ServedModel {
  return {
    path: names.modelPath,
    name: names.servedModelName ?? names.modelPath,
    tokenizerPath: wholePath(names.tokenizerPath ?? names.modelPath),
    architecture: model.architecture,
    modelType: model.modelType,
    contextLength: model.contextLength,
    samplingDefaults: samplingDefaults(model.generationDefaults),
  };
}

const wholePath = (name: string): string => (existsSync(name) ? resolve(name) : name);

/** Values that mean nothing here (null, top_k 0 for "off", out of range) are left out. */
export function samplingDefaults(generationConfig: Readonly<Record<string, unknown>>): Record<string, number> {
  const defaults: Record<string, number> = {};
  for (const [key, isValid] of Object.entries(VALID)) {
    const value = generationConfig[key];
    if (typeof value === 'number' && isValid(value)) defaults[key] = value;
  }
  return defaults;
}

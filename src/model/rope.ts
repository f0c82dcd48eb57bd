// Rotary embedding from config.json: which frequencies, which scaling. Follows modeling_rope_utils.py of transformers 5,
// including its float32 arithmetic: at long positions a frequency in higher precision is a different model.
import type { RopeSpec } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import { isJsonObject } from '../util/read-json.js';
import { HfConfig } from './hf-config.js';

const ROPE_TYPES = ['default', 'linear', 'dynamic', 'llama3', 'yarn'] as const;
export type RopeType = (typeof ROPE_TYPES)[number];

/** The keys of rope_parameters (transformers 5) or rope_scaling (before), whichever the config has, normalised. */
export interface RopeParameters {
  readonly type: RopeType;
  readonly theta: number;
  readonly rotaryDim: number;
  /** The object the scaling keys are in; empty for type default. */
  readonly scaling: HfConfig;
  /** Context the model was trained with, or undefined where the config does not say. */
  readonly originalMaxPositions: number | undefined;
  readonly maxPositions: number;
}

export function readRopeParameters(
  config: HfConfig,
  model: { readonly headDim: number; readonly defaultTheta: number },
): RopeParameters {
  const scaling = scalingObject(config);
  const type = ropeType(scaling);
  const from = (key: string) => (scaling.has(key) ? scaling : config);
  const theta = from('rope_theta').has('rope_theta') ? from('rope_theta').positive('rope_theta') : model.defaultTheta;
  const partial = from('partial_rotary_factor');
  const factor = partial.has('partial_rotary_factor') ? partial.number('partial_rotary_factor', { min: 0, max: 1 }) : 1;
  const rotaryDim = Math.trunc(model.headDim * factor);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0) {
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${config.source}: rotary embedding needs an even number of channels per head, got ${rotaryDim} ` +
        `(head_dim ${model.headDim}, partial_rotary_factor ${factor}).`,
    );
  }
  const original = 'original_max_position_embeddings';
  const originalFrom = config.has(original) ? config : scaling;
  return {
    type,
    theta,
    rotaryDim,
    scaling,
    originalMaxPositions: originalFrom.has(original) ? originalFrom.integer(original, { min: 1 }) : undefined,
    maxPositions: config.integer('max_position_embeddings', { min: 1 }),
  };
}

function scalingObject(config: HfConfig): HfConfig {
  const key = config.has('rope_scaling') ? 'rope_scaling' : 'rope_parameters';
  if (!config.has(key)) return new HfConfig({}, config.source);
  const object = config.object(key);
  const perLayerType = Object.values(object.values).filter(isJsonObject);
  if (perLayerType.length === 0) return object;
  const [first, ...others] = perLayerType.map((value) => JSON.stringify(value));
  if (others.some((other) => other !== first)) {
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${config.source}: "${key}" differs by layer type; one rotary embedding for all layers is supported.`,
      { param: key },
    );
  }
  return new HfConfig(perLayerType[0]!, object.source);
}

function ropeType(scaling: HfConfig): RopeType {
  const key = scaling.has('rope_type') ? 'rope_type' : 'type';
  if (!scaling.has(key)) return 'default';
  const name = scaling.string(key);
  const type = ROPE_TYPES.find((known) => known === name);
  if (type === undefined) {
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${scaling.source}: rope type "${name}" is not supported; supported are ${ROPE_TYPES.join(', ')}.`,
      { param: key },
    );
  }
  return type;
}

export function buildRope(rope: RopeParameters): RopeSpec {
  const plain = inverseFrequencies(rope.theta, rope.rotaryDim);
  const spec = { rotaryDim: rope.rotaryDim, invFreq: plain, attentionFactor: 1, dynamicNtk: null };
  switch (rope.type) {
    case 'default':
      return spec;
    case 'linear': {
      const factor = scalingFactor(rope);
      return { ...spec, invFreq: plain.map((frequency) => Math.fround(frequency / factor)) };
    }
    case 'dynamic': {
      if (rope.rotaryDim < 4) throw rope.scaling.invalid('rope_type', 'another than dynamic for 2 rotary channels');
      // As in transformers, the scaling starts at max_position_embeddings, whatever original_max_position_embeddings says.
      const dynamicNtk = { theta: rope.theta, factor: scalingFactor(rope), originalMaxPositions: rope.maxPositions };
      return { ...spec, dynamicNtk };
    }
    case 'llama3':
      return { ...spec, invFreq: llama3Frequencies(rope, plain) };
    case 'yarn':
      return yarn(rope);
  }
}

/** theta ^ (-i / rotaryDim) for i = 0, 2, …; rounded to float32 where transformers rounds. */
function inverseFrequencies(theta: number, rotaryDim: number): number[] {
  return positionalFrequencies(theta, rotaryDim).map((frequency) => Math.fround(1 / frequency));
}

function positionalFrequencies(theta: number, rotaryDim: number): number[] {
  return Array.from({ length: rotaryDim / 2 }, (_, i) => Math.fround(theta ** Math.fround((2 * i) / rotaryDim)));
}

function scalingFactor(rope: RopeParameters): number {
  return rope.scaling.number('factor', { min: 1 });
}

/** Llama 3.1: low frequencies divided by `factor`, high ones kept, a linear blend between. */
function llama3Frequencies(rope: RopeParameters, plain: readonly number[]): number[] {
  const factor = scalingFactor(rope);
  const low = rope.scaling.positive('low_freq_factor');
  const high = rope.scaling.positive('high_freq_factor');
  if (high <= low) throw rope.scaling.invalid('high_freq_factor', `greater than low_freq_factor (${low})`);
  const original = rope.originalMaxPositions ?? rope.maxPositions;
  return plain.map((frequency) => {
    const wavelength = Math.fround((2 * Math.PI) / frequency);
    if (wavelength < original / high) return frequency;
    if (wavelength > original / low) return Math.fround(frequency / factor);
    const smooth = Math.fround((Math.fround(original / wavelength) - low) / (high - low));
    return Math.fround(((1 - smooth) * frequency) / factor + smooth * frequency);
  });
}

/** YaRN (https://arxiv.org/abs/2309.00071), with the options of transformers and DeepSeek. */
function yarn(rope: RopeParameters): RopeSpec {
  const { scaling, rotaryDim, theta } = rope;
  const original = rope.originalMaxPositions ?? rope.maxPositions;
  const factor =
    scaling.has('factor') || rope.originalMaxPositions === undefined
      ? scalingFactor(rope)
      : rope.maxPositions / original;
  const optional = (key: string) => (scaling.has(key) ? scaling.number(key) : 0);
  const betaFast = optional('beta_fast') || 32;
  const betaSlow = optional('beta_slow') || 1;
  const truncate = scaling.has('truncate') ? scaling.boolean('truncate') : true;

  const correctionDim = (rotations: number) =>
    (rotaryDim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const lowest = correctionDim(betaFast);
  const highest = correctionDim(betaSlow);
  const low = Math.max(truncate ? Math.floor(lowest) : lowest, 0);
  const high = Math.min(truncate ? Math.ceil(highest) : highest, rotaryDim - 1);
  const span = low === high ? 0.001 : high - low;

  const invFreq = positionalFrequencies(theta, rotaryDim).map((frequency, i) => {
    const interpolated = Math.fround(Math.min(Math.max((i - low) / span, 0), 1));
    const extrapolated = Math.fround(1 - interpolated);
    return Math.fround((1 / (factor * frequency)) * (1 - extrapolated) + (1 / frequency) * extrapolated);
  });
  return { rotaryDim, invFreq, attentionFactor: yarnAttentionFactor(scaling, factor), dynamicNtk: null };
}

function yarnAttentionFactor(scaling: HfConfig, factor: number): number {
  if (scaling.has('attention_factor')) return scaling.positive('attention_factor');
  const mscale = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const weight = scaling.has('mscale') ? scaling.number('mscale') : 0;
  const weightAllDim = scaling.has('mscale_all_dim') ? scaling.number('mscale_all_dim') : 0;
  return weight !== 0 && weightAllDim !== 0 ? mscale(weight) / mscale(weightAllDim) : mscale(1);
}

/**
 * Longest sequence in tokens. `byDefault` is what SGLang derives: max_position_embeddings, times the scaling factor when
 * the config names no original_max_position_embeddings (then max_position_embeddings is the length before scaling);
 * llama3 configs always state the scaled length. `allowed` is how far the scaling reaches: a yarn config often states
 * less than factor * original_max_position_embeddings, and --context-length may ask for that.
 */
export function contextLengthOf(rope: RopeParameters): { readonly byDefault: number; readonly allowed: number } {
  if (rope.type === 'default') return { byDefault: rope.maxPositions, allowed: rope.maxPositions };
  const original = rope.originalMaxPositions;
  const scaled = (length: number) => Math.trunc(length * (rope.scaling.has('factor') ? scalingFactor(rope) : 1));
  const byDefault = original === undefined && rope.type !== 'llama3' ? scaled(rope.maxPositions) : rope.maxPositions;
  return { byDefault, allowed: Math.max(byDefault, original === undefined ? 0 : scaled(original)) };
}

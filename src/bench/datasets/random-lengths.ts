// Lengths of the random datasets, by SGLang's rule: integers uniform in [max(floor(longest * ratio), 1), longest].
import { Random } from '../random.js';

export interface RandomSettings {
  readonly numPrompts: number;
  readonly seed: number;
  readonly inputLen: number;
  readonly outputLen: number;
  readonly rangeRatio: number;
  /** Prompts are token ids and not text. */
  readonly tokenizePrompt: boolean;
}

export interface RandomLengths {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** `count` integers from [max(floor(longest * ratio), 1), longest]. */
export function uniformLengths(random: Random, longest: number, ratio: number, count: number): number[] {
  const shortest = Math.max(Math.floor(longest * ratio), 1);
  return Array.from({ length: count }, () => random.integer(shortest, longest));
}

/**
 * All input lengths are drawn first, then all output lengths. Text prompts are shortened by the `specialTokens` that the
 * server adds around them, but never below one token: an empty prompt is an error and not a measure.
 */
export function drawLengths(settings: RandomSettings, specialTokens: number): RandomLengths {
  const random = new Random(settings.seed, 'random lengths');
  const draw = (longest: number) => uniformLengths(random, longest, settings.rangeRatio, settings.numPrompts);
  const inputs = draw(settings.inputLen);
  const outputs = draw(settings.outputLen);
  if (settings.tokenizePrompt) return { inputs, outputs };
  return { inputs: inputs.map((length) => Math.max(1, length - specialTokens)), outputs };
}

// Which LoRA adapter answers which request.
import { Random } from '../random.js';
import type { BenchRequest } from './bench-request.js';

export interface LoraSettings {
  readonly names: readonly string[];
  /** uniform: any, at random; distinct: one after the other; skewed: name i with a probability ∝ alpha^(-i). */
  readonly distribution: 'uniform' | 'distinct' | 'skewed';
  /** Above 1. */
  readonly zipfAlpha: number;
  readonly seed: number;
}

/** The requests with an adapter each; as they are where no name is given. */
export function assignLora(requests: readonly BenchRequest[], settings: LoraSettings): readonly BenchRequest[] {
  const { names, distribution } = settings;
  if (names.length === 0) return requests;
  const random = new Random(settings.seed, 'lora names');
  // Running sums of the weights, by division: powers may differ in the last digit from one machine to another.
  const bounds: number[] = [];
  let weight = 1;
  for (const _ of names) {
    bounds.push((bounds.at(-1) ?? 0) + weight);
    weight /= settings.zipfAlpha;
  }
  const draw = (index: number): string => {
    if (distribution === 'distinct') return names[index % names.length]!;
    if (distribution === 'uniform') return names[random.integer(0, names.length - 1)]!;
    const point = random.fraction() * bounds.at(-1)!;
    return names[bounds.findIndex((bound) => point < bound)]!;
  };
  return requests.map((request, index) => ({ ...request, lora: draw(index) }));
}

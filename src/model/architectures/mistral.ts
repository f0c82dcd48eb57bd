// Mistral: Llama without biases, with an optional sliding window in every layer.
import type { Architecture } from '../architecture.js';

export const mistral: Architecture = {
  name: 'MistralForCausalLM',
  modelType: 'mistral',
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  window: 'all',
  moe: null,
  defaults: { rmsNormEps: 1e-6, ropeTheta: 10_000, slidingWindow: 4096 },
};

// Llama 1 to 3, and the many models published in its form.
import type { Architecture } from '../architecture.js';

export const llama: Architecture = {
  name: 'LlamaForCausalLM',
  modelType: 'llama',
  qkvBias: 'attention_bias',
  outputBias: 'attention_bias',
  mlpBias: 'mlp_bias',
  qkNorm: false,
  window: 'none',
  moe: null,
  defaults: { rmsNormEps: 1e-6, ropeTheta: 10_000 },
};

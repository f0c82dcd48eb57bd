// Qwen2 and Qwen2.5: biases on q, k and v only.
import type { Architecture } from '../architecture.js';

export const qwen2: Architecture = {
  name: 'Qwen2ForCausalLM',
  modelType: 'qwen2',
  qkvBias: true,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  window: 'switched',
  moe: null,
  defaults: { rmsNormEps: 1e-6, ropeTheta: 10_000, slidingWindow: 4096 },
};

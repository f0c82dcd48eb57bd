// Qwen3 (dense): RMSNorm on each q and k head instead of biases; head_dim is 128 unless the config says otherwise.
import type { Architecture } from '../architecture.js';

export const qwen3: Architecture = {
  name: 'Qwen3ForCausalLM',
  modelType: 'qwen3',
  qkvBias: 'attention_bias',
  outputBias: 'attention_bias',
  mlpBias: false,
  qkNorm: true,
  window: 'switched',
  moe: null,
  defaults: { rmsNormEps: 1e-6, ropeTheta: 10_000, headDim: 128, slidingWindow: 4096 },
};

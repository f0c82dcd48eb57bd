// Mixtral: Mistral with a mixture of experts in every layer.
import type { Architecture } from '../architecture.js';

export const mixtral: Architecture = {
  name: 'MixtralForCausalLM',
  modelType: 'mixtral',
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  window: 'all',
  moe: {
    numExpertsKeys: ['num_local_experts', 'num_experts'],
    intermediateSizeKey: 'intermediate_size',
    normTopkProb: true,
    sparseLayers: 'all',
    module: 'block_sparse_moe',
    names: {
      router: 'block_sparse_moe.gate.weight',
      gate: 'block_sparse_moe.experts.{}.w1.weight',
      up: 'block_sparse_moe.experts.{}.w3.weight',
      down: 'block_sparse_moe.experts.{}.w2.weight',
    },
  },
  defaults: { rmsNormEps: 1e-5, ropeTheta: 1_000_000 },
};

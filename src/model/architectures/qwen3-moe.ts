// Qwen3-MoE: Qwen3 attention; a mixture of experts in the layers that decoder_sparse_step and mlp_only_layers leave.
import type { Architecture } from '../architecture.js';

export const qwen3Moe: Architecture = {
  name: 'Qwen3MoeForCausalLM',
  modelType: 'qwen3_moe',
  qkvBias: 'attention_bias',
  outputBias: 'attention_bias',
  mlpBias: false,
  qkNorm: true,
  window: 'switched-all',
  moe: {
    numExpertsKeys: ['num_experts', 'num_local_experts'],
    intermediateSizeKey: 'moe_intermediate_size',
    normTopkProb: 'norm_topk_prob',
    sparseLayers: 'stepped',
    module: 'mlp',
    names: {
      router: 'mlp.gate.weight',
      gate: 'mlp.experts.{}.gate_proj.weight',
      up: 'mlp.experts.{}.up_proj.weight',
      down: 'mlp.experts.{}.down_proj.weight',
    },
  },
  defaults: { rmsNormEps: 1e-6, ropeTheta: 10_000, slidingWindow: 4096 },
};

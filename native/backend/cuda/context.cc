// The memory that a context keeps for its ops.
#include "backend/cuda/context.h"

void VitrineCudaContext::reserve(const VitrineStepLimits& limits) {
  vitrine::cuda::check(cudaStreamSynchronize(stream.get()), "loading of the weights");
  conversion = vitrine::cuda::Scratch();  // weights are there
  attention.reserve(limits);
  for (int32_t i = 0; i < limits.num_moe_layers; ++i) experts.reserve(limits.moe_layers[i], limits.max_tokens);
}

size_t VitrineCudaContext::scratch_bytes() const {
  return transfers.device_bytes() + linear.device_bytes() + sampler.device_bytes() + attention.device_bytes() +
         experts.device_bytes() + conversion.bytes();
}

// The memory that a context keeps for its ops.
#include "backend/cuda/context.h"

namespace {

/// The driver loads a kernel, of cublasLt too, into device memory when it first runs.
constexpr size_t kLeastFree = size_t{256} << 20;
/// What lies between parts of a step's inputs or results, all of which begin at multiples of 64 bytes.
constexpr size_t kGaps = size_t{64} << 10;

}  // namespace

void VitrineCudaContext::reserve(const VitrineStepLimits& limits) {
  vitrine::cuda::check(cudaStreamSynchronize(stream.get()), "loading of the weights");
  conversion = vitrine::cuda::Scratch();  // weights are there
  const size_t plan_bytes = attention.reserve(limits);
  // The batch's own words, and the sampler's copies of some of them.
  inputs.make_room(2 * static_cast<size_t>(limits.max_input_words) * sizeof(int32_t) + plan_bytes + kGaps);
  results.make_room(static_cast<size_t>(limits.max_result_words) * sizeof(int32_t) + kGaps);
  sampler.reserve(limits.max_requests, limits.vocab_size);
  linear.reserve(limits.max_tokens, limits.max_requests);
  for (int32_t i = 0; i < limits.num_moe_layers; ++i) {
    experts.reserve(limits.moe_layers[i], limits.max_tokens, limits.max_requests);
  }
  size_t free = 0;
  size_t total = 0;
  vitrine::cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  if (free < kLeastFree) {
    vitrine::cuda::fail(VITRINE_CUDA_OUT_OF_MEMORY, free, " bytes of GPU memory are left, the driver needs ",
                        kLeastFree, " for kernels that have not run yet");
  }
}

size_t VitrineCudaContext::scratch_bytes() const {
  return inputs.device_bytes() + results.device_bytes() + linear.device_bytes() + sampler.device_bytes() +
         attention.device_bytes() + experts.device_bytes() + conversion.bytes();
}

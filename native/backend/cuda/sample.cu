// One block a row.
#include "backend/cuda/sample.cuh"

#include "backend/cuda/sample.h"

namespace vitrine::cuda {
namespace {

using namespace sample_kernels;

}  // namespace

void sample(const VitrineTensor& logits, const SampleBatch& batch, cudaStream_t stream) {
  if (batch.count == 0) return;
  for_dtype(logits.dtype, [&](auto type) {
    sample_kernel<<<static_cast<unsigned>(batch.count), kThreads, 0, stream>>>(
        static_cast<const decltype(type)*>(logits.data), logits.cols, batch);
  });
  check_launch("sample");
}

void logprobs(const VitrineTensor& logits, const LogprobBatch& batch, cudaStream_t stream) {
  if (batch.count == 0) return;
  for_dtype(logits.dtype, [&](auto type) {
    logprobs_kernel<<<static_cast<unsigned>(batch.count), kThreads, 0, stream>>>(
        static_cast<const decltype(type)*>(logits.data), logits.cols, batch);
  });
  check_launch("logprobs");
}

}  // namespace vitrine::cuda

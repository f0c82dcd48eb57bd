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
    using T = decltype(type);
    launch_kernel("sample", sample_kernel<T>, static_cast<unsigned>(batch.count), kThreads, 0, stream,
                  static_cast<const T*>(logits.data), logits.cols, batch);
  });
}

void logprobs(const VitrineTensor& logits, const LogprobBatch& batch, cudaStream_t stream) {
  if (batch.count == 0) return;
  for_dtype(logits.dtype, [&](auto type) {
    using T = decltype(type);
    launch_kernel("logprobs", logprobs_kernel<T>, static_cast<unsigned>(batch.count), kThreads, 0, stream,
                  static_cast<const T*>(logits.data), logits.cols, batch);
  });
}

}  // namespace vitrine::cuda

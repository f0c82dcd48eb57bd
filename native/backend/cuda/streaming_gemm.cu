// Chooses the kernel by the number of tokens.
#include "backend/cuda/streaming_gemm.cuh"

#include "backend/cuda/gemm.h"

namespace vitrine::cuda {
namespace {

using namespace streaming_gemm_kernels;

template <class T, class Store>
void launch_tensor(const Gemm& job, int64_t k, Store store, cudaStream_t stream) {
  const auto kernel = job.m <= kTileTokens ? streaming_kernel<T, 1, Store> : streaming_kernel<T, 2, Store>;
  launch_kernel("linear", kernel, static_cast<unsigned>(ceil_div<int64_t>(job.n, kRows)), kThreads, 0, stream,
                static_cast<const T*>(job.weight), static_cast<const T*>(job.x), static_cast<int>(job.m), job.n, k,
                store);
}

template <class T>
void launch_16(const Gemm& job, cudaStream_t stream) {
  launch_tensor<T>(job, job.k, PlainStore<T>{static_cast<T*>(job.out), job.bias}, stream);
}

void launch_8(const Gemm& job, cudaStream_t stream) {
  for_dtype(job.out_dtype, [&](auto type) {
    using Out = decltype(type);
    const ScaledStore<Out> store{{static_cast<Out*>(job.out), job.bias}, job.token_scales, job.row_scales};
    launch_tensor<Float8Pair>(job, job.k / 2, store, stream);
  });
}

void launch_32(const Gemm& job, cudaStream_t stream) {
  const auto kernel = job.m == 1   ? streaming_kernel_f32<1>
                      : job.m == 2 ? streaming_kernel_f32<2>
                      : job.m <= 4 ? streaming_kernel_f32<4>
                                   : streaming_kernel_f32<8>;
  launch_kernel("linear", kernel, static_cast<unsigned>(ceil_div<int64_t>(job.n, kWarps)), kThreads, 0, stream,
                static_cast<const float*>(job.weight), static_cast<const float*>(job.x), static_cast<int>(job.m), job.n,
                job.k, PlainStore<float>{static_cast<float*>(job.out), job.bias});
}

static_assert(kMostTokens16 == 2 * kTileTokens && kMostTokens16 * kRows <= kThreads);

}  // namespace

bool supports_streaming(const Gemm& job) {
  const bool wide = job.dtype == VITRINE_FLOAT32;
  const auto unit = static_cast<int64_t>(16 / dtype_bytes(job.dtype));
  return job.m <= (wide ? kMostTokens32 : kMostTokens16) && job.k > 0 && job.k % unit == 0 && aligned_16(job.x) &&
         aligned_16(job.weight);
}

void streaming_gemm(const Gemm& job, cudaStream_t stream) {
  if (job.m == 0 || job.n == 0) return;
  switch (job.dtype) {
    case VITRINE_FLOAT32: launch_32(job, stream); break;
    case VITRINE_FLOAT16: launch_16<__half>(job, stream); break;
    case VITRINE_BFLOAT16: launch_16<__nv_bfloat16>(job, stream); break;
    default: launch_8(job, stream); break;
  }
}

}  // namespace vitrine::cuda

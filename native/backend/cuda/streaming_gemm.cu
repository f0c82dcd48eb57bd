// Products with few tokens, bound by the memory that holds the weight. A block takes 16 rows of a 16-bit weight; its
// warps take turns along k and add up in the end. The rows are the matrix "a" of the tensor cores, the tokens "b": that
// spares the arithmetic of converting. Which k a register holds is ours to choose as long as both agree, so that every
// lane reads 16 bytes at once.
#include "backend/cuda/gemm.h"
#include "backend/cuda/mma.cuh"
#include "backend/cuda/numbers.cuh"

namespace vitrine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kRows = 16;       // of the weight, of a block
constexpr int kTileTokens = 8;  // of one product of the tensor cores
constexpr int kMostTokens16 = 16;
constexpr int kMostTokens32 = 8;
constexpr int kDepth = 32;  // k of a warp's turn: 4 lanes of 8 elements
constexpr int kUnroll = 4;  // turns whose loads are under way together

/// Read once: past the first-level cache.
__device__ inline uint4 load_streaming(const void* from) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

__device__ inline uint4 load_cached(const void* from) { return __ldg(static_cast<const uint4*>(from)); }

template <class T, int kTiles>
__global__ void __launch_bounds__(kThreads)
    streaming_kernel(const T* __restrict__ weight, const T* __restrict__ x, const float* __restrict__ bias, int m,
                     int64_t n, int64_t k, T* __restrict__ out) {
  constexpr int kTokens = kTiles * kTileTokens;
  __shared__ float partial[kWarps][kTokens][kRows];
  const int warp = threadIdx.x / 32;
  const int group = threadIdx.x % 32 / 4;
  const int lane_k = threadIdx.x % 4 * 8;
  const int64_t first_row = blockIdx.x * int64_t{kRows};
  // Rows and tokens beyond the last are read from the last: what they give stays in sums that nobody stores.
  const T* row_a = weight + min(first_row + group, n - 1) * k;
  const T* row_b = weight + min(first_row + group + 8, n - 1) * k;
  const T* tokens[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; ++j) tokens[j] = x + min(j * kTileTokens + group, m - 1) * k;

  float sums[kTiles][4] = {};
  const auto multiply = [&](const uint4& a, const uint4& b, const uint4(&c)[kTiles]) {
    const uint32_t front[4] = {a.x, b.x, a.y, b.y};
    const uint32_t back[4] = {a.z, b.z, a.w, b.w};
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const uint32_t front_tokens[2] = {c[j].x, c[j].y};
      const uint32_t back_tokens[2] = {c[j].z, c[j].w};
      mma_16x8x16<T>(sums[j], front, front_tokens);
      mma_16x8x16<T>(sums[j], back, back_tokens);
    }
  };
  constexpr int kTurn = kWarps * kDepth;
  int64_t at = warp * kDepth + lane_k;
  for (; at - lane_k + (kUnroll - 1) * kTurn + kDepth <= k; at += kUnroll * kTurn) {
    uint4 a[kUnroll], b[kUnroll], c[kUnroll][kTiles];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      a[u] = load_streaming(row_a + at + u * kTurn);
      b[u] = load_streaming(row_b + at + u * kTurn);
#pragma unroll
      for (int j = 0; j < kTiles; ++j) c[u][j] = load_cached(tokens[j] + at + u * kTurn);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) multiply(a[u], b[u], c[u]);
  }
  for (; at - lane_k < k; at += kTurn) {
    const bool inside = at < k;  // k is a multiple of 8
    const uint4 a = inside ? load_streaming(row_a + at) : uint4{};
    const uint4 b = inside ? load_streaming(row_b + at) : uint4{};
    uint4 c[kTiles];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) c[j] = inside ? load_cached(tokens[j] + at) : uint4{};
    multiply(a, b, c);
  }

  const int pair = threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    for (int i = 0; i < 4; ++i) partial[warp][j * kTileTokens + pair + i % 2][group + i / 2 * 8] = sums[j][i];
  }
  __syncthreads();
  const int token = threadIdx.x / kRows;
  const int64_t row = first_row + threadIdx.x % kRows;
  if (token >= min(m, kTokens) || row >= n) return;
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += partial[w][token][threadIdx.x % kRows];
  out[token * n + row] = from_float<T>(bias == nullptr ? sum : sum + bias[row]);
}

/// float32: a warp takes one row of the weight.
template <int kTokens>
__global__ void __launch_bounds__(kThreads)
    streaming_kernel_f32(const float* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ bias,
                         int m, int64_t n, int64_t k, float* __restrict__ out) {
  const int64_t row = blockIdx.x * int64_t{kWarps} + threadIdx.x / 32;
  if (row >= n) return;
  const int lane = threadIdx.x % 32;
  float sums[kTokens] = {};
#pragma unroll 4
  for (int64_t i = lane * 4; i < k; i += 128) {
    const uint4 bits = load_streaming(weight + row * k + i);
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      const float4 value = __ldg(reinterpret_cast<const float4*>(x + min(token, m - 1) * k + i));
      sums[token] = fmaf(__uint_as_float(bits.x), value.x, sums[token]);
      sums[token] = fmaf(__uint_as_float(bits.y), value.y, sums[token]);
      sums[token] = fmaf(__uint_as_float(bits.z), value.z, sums[token]);
      sums[token] = fmaf(__uint_as_float(bits.w), value.w, sums[token]);
    }
  }
#pragma unroll
  for (int token = 0; token < kTokens; ++token) {
    const float sum = warp_sum(sums[token]);
    if (lane == 0 && token < m) out[token * n + row] = bias == nullptr ? sum : sum + bias[row];
  }
}

template <class T>
void launch_16(const Gemm& job, cudaStream_t stream) {
  const auto kernel = job.m <= kTileTokens ? streaming_kernel<T, 1> : streaming_kernel<T, 2>;
  kernel<<<static_cast<unsigned>(ceil_div<int64_t>(job.n, kRows)), kThreads, 0, stream>>>(
      static_cast<const T*>(job.weight), static_cast<const T*>(job.x), job.bias, static_cast<int>(job.m), job.n, job.k,
      static_cast<T*>(job.out));
}

void launch_32(const Gemm& job, cudaStream_t stream) {
  const auto kernel = job.m == 1   ? streaming_kernel_f32<1>
                      : job.m == 2 ? streaming_kernel_f32<2>
                      : job.m <= 4 ? streaming_kernel_f32<4>
                                   : streaming_kernel_f32<8>;
  kernel<<<static_cast<unsigned>(ceil_div<int64_t>(job.n, kWarps)), kThreads, 0, stream>>>(
      static_cast<const float*>(job.weight), static_cast<const float*>(job.x), job.bias, static_cast<int>(job.m), job.n,
      job.k, static_cast<float*>(job.out));
}

static_assert(kMostTokens16 == 2 * kTileTokens && kMostTokens16 * kRows <= kThreads);

}  // namespace

bool supports_streaming(const Gemm& job) {
  const bool wide = job.dtype == VITRINE_FLOAT32;
  return job.m <= (wide ? kMostTokens32 : kMostTokens16) && job.k > 0 && job.k % (wide ? 4 : 8) == 0 &&
         aligned_16(job.x) && aligned_16(job.weight);
}

void streaming_gemm(const Gemm& job, cudaStream_t stream) {
  if (job.m == 0 || job.n == 0) return;
  switch (job.dtype) {
    case VITRINE_FLOAT32: launch_32(job, stream); break;
    case VITRINE_FLOAT16: launch_16<__half>(job, stream); break;
    default: launch_16<__nv_bfloat16>(job, stream); break;
  }
  check_launch("linear");
}

}  // namespace vitrine::cuda

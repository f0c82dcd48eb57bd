// One warp a head of a token. Norm and rotation are computed in float32 and rounded once.
#pragma once

#include <type_traits>

#include "backend/cuda/float8.cuh"

namespace vitrine::cuda::rope_kernels {

constexpr int kWarps = 8;  // of a block

struct Job {
  int64_t tokens;
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t rotary_dim;
  int32_t block_size;
  float eps;
  const float* cos_sin;
  const float* q_norm;
  const float* k_norm;
  const int32_t* positions;
  const int32_t* kv_slots;
  float k_factor;  ///< 1 / scale, of a cache of Float8
  float v_factor;
};

/// Where a token's K or V of one head lies in the cache.
__device__ int64_t cache_offset(const Job& job, int64_t token, int32_t kv_head) {
  const int32_t slot = job.kv_slots[token];
  const int64_t block = slot / job.block_size;
  const int64_t offset = slot % job.block_size;
  return ((block * job.num_kv_heads + kv_head) * job.block_size + offset) * job.head_dim;
}

/// What the cache holds of a value.
template <class C>
__device__ C to_cached(float value, float factor) {
  if constexpr (std::is_same_v<C, Float8>) value *= factor;
  return from_float<C>(value);
}

/// Norms (gain may be null) and rotates `head` in place, and stores it at `stored` as well, unless that is null.
template <class T, class C>
__device__ void rotate_head(const Job& job, T* head, const float* gain, const float* cos_sin, int lane, C* stored) {
  float scale = 1.0f;
  if (gain != nullptr) {
    float squares = 0;
    for (int32_t i = lane; i < job.head_dim; i += 32) squares += to_float(head[i]) * to_float(head[i]);
    scale = rsqrtf(warp_sum(squares) / static_cast<float>(job.head_dim) + job.eps);
  }
  const auto normed = [&](int32_t i) {
    const float value = to_float(head[i]);
    return gain == nullptr ? value : value * scale * gain[i];
  };
  const auto store = [&](int32_t i, float value) {
    const T rounded = from_float<T>(value);
    head[i] = rounded;
    if (stored != nullptr) stored[i] = to_cached<C>(to_float(rounded), job.k_factor);
  };
  const int32_t half = job.rotary_dim / 2;
  __syncwarp();  // lanes write below what others have read for the sum
  for (int32_t i = lane; i < half; i += 32) {
    const float a = normed(i);
    const float b = normed(half + i);
    store(i, a * cos_sin[i] - b * cos_sin[half + i]);
    store(half + i, b * cos_sin[i] + a * cos_sin[half + i]);
  }
  for (int32_t i = 2 * half + lane; i < job.head_dim; i += 32) store(i, normed(i));
}

template <class T, class C>
__global__ void __launch_bounds__(kWarps * 32) rope_kernel(Job job, T* qkv, C* k_cache, C* v_cache) {
  wait_for_earlier_kernels();
  const int32_t heads = job.num_heads + 2 * job.num_kv_heads;
  const int64_t index = blockIdx.x * int64_t{kWarps} + threadIdx.x / 32;
  const int64_t token = index / heads;
  if (token >= job.tokens) return;
  const auto head = static_cast<int32_t>(index % heads);
  const int lane = threadIdx.x % 32;
  T* data = qkv + index * job.head_dim;
  const float* cos_sin = job.cos_sin + int64_t{job.positions[token]} * job.rotary_dim;
  if (head < job.num_heads) {
    if (job.q_norm != nullptr || job.rotary_dim > 0) {
      rotate_head<T, C>(job, data, job.q_norm, cos_sin, lane, nullptr);
    }
  } else if (head < job.num_heads + job.num_kv_heads) {
    C* stored = k_cache + cache_offset(job, token, head - job.num_heads);
    rotate_head<T, C>(job, data, job.k_norm, cos_sin, lane, stored);
  } else {
    C* stored = v_cache + cache_offset(job, token, head - job.num_heads - job.num_kv_heads);
    for (int32_t i = lane; i < job.head_dim; i += 32) stored[i] = to_cached<C>(to_float(data[i]), job.v_factor);
  }
}

}  // namespace vitrine::cuda::rope_kernels

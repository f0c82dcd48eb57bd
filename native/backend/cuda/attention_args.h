// What the attention kernels are launched with.
#pragma once

#include <cstdint>

#include "backend/cuda/attention_plan.h"

namespace vitrine::cuda {

/// Pointers are device memory; q and out are of the kernel's element type, k and v of that or Float8.
struct AttentionArgs {
  const void* q = nullptr;  ///< row of a token: `q_stride` elements, the first heads * head_dim of them the queries
  int64_t q_stride = 0;
  void* out = nullptr;  ///< row of a token: `out_stride` elements
  int64_t out_stride = 0;
  const void* k = nullptr;  ///< [num_blocks, kv_heads, block_size, head_dim]
  const void* v = nullptr;
  const int32_t* block_start = nullptr;  ///< [R+1]
  const int32_t* blocks = nullptr;       ///< [block_start[R]]
  float* partial_out = nullptr;          ///< [partial_rows, kv_heads, head_dim]: softmax(part) * V of the part
  float* partial_lse = nullptr;          ///< [partial_rows, kv_heads]: log2 of the part's sum of 2^score; -inf: no keys
  int32_t kv_heads = 0;
  int32_t group = 0;
  int32_t head_dim = 0;
  int32_t block_size = 0;
  int32_t block_shift = -1;  ///< log2(block_size); -1: not a power of two
  int32_t window = 0;        ///< positions a query sees, itself included; 0 = all
  float scale_log2 = 0;      ///< scale * log2(e) > 0, with the scale of K: scores are in units of log2
  float v_scale = 1;         ///< V is what the cache holds times it
};

/// A list of the plan in device memory. Blocks go over it in steps of gridDim.x, so that a grid of a fixed size (that
/// of a CUDA graph) does any number of items.
template <class Item>
struct WorkList {
  const Item* items = nullptr;
  const int32_t* count = nullptr;
};

}  // namespace vitrine::cuda

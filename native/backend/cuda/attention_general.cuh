// Paged attention of any head_dim (to 512) and element type, in float32 on the ordinary cores, and the merge of parts
// that all attention kernels share. Warps have 4 rows each; a lane has one key of the tile for the scores and every
// 32nd column for the output.
#pragma once

#include "backend/cuda/warp_attention.cuh"

namespace vitrine::cuda {

constexpr int kGeneralWarps = 4;
constexpr int kGeneralWarpRows = 4;
constexpr int kGeneralRows = kGeneralWarps * kGeneralWarpRows;
constexpr int kGeneralKeys = 32;
constexpr int kGeneralLargestHeadDim = 512;

/// Floats from key to key in shared memory: odd, so that the lanes' 32 keys have one column in the 32 banks.
VITRINE_HOST_DEVICE constexpr int general_stride(int head_dim) { return head_dim | 1; }

/// Queries [kGeneralRows, head_dim] and one tile of K or V [kGeneralKeys, stride].
constexpr size_t general_shared_bytes(int32_t head_dim) {
  return sizeof(float) * (static_cast<size_t>(kGeneralRows) * head_dim + kGeneralKeys * general_stride(head_dim));
}

/// Grid (any, kv heads), kGeneralWarps * 32 threads. C: elements of the cache, T or Float8. kColumns: of a lane, at
/// least head_dim / 32. Told how many blocks are to share a multiprocessor, ptxas spills no registers.
template <class T, class C, int kColumns>
__global__ void __launch_bounds__(128, kColumns <= 8 ? 4 : 3)
    attention_general_kernel(AttentionArgs args, WorkList<AttentionItem> work) {
  wait_for_earlier_kernels();
  const int head_dim = args.head_dim;
  const int stride = general_stride(head_dim);
  float* const queries = reinterpret_cast<float*>(dynamic_shared());
  float* const tile = queries + kGeneralRows * head_dim;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp_row = thread / 32 * kGeneralWarpRows;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int count = *work.count;

  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    const AttentionItem item = work.items[i];
    const KeyRows rows(args, item.request, kv_head);
    const auto load_tile = [&](const void* cache, int32_t first_key) {
      for (int key = thread / 32; key < kGeneralKeys; key += kGeneralWarps) {
        const bool valid = first_key + key < item.key_end;
        const C* const from = static_cast<const C*>(cache) + (valid ? rows.row(first_key + key) * head_dim : 0);
        for (int d = lane; d < head_dim; d += 32) tile[key * stride + d] = valid ? to_float(from[d]) : 0.0f;
      }
    };
    for (int row = thread / 32; row < kGeneralRows; row += kGeneralWarps) {
      const int32_t request_row = item.first_row + min(row, item.num_rows - 1);
      const int32_t token = item.first_token + request_row / args.group;
      const int32_t head = kv_head * args.group + request_row % args.group;
      const T* const from = static_cast<const T*>(args.q) + token * args.q_stride + int64_t{head} * head_dim;
      for (int d = lane; d < head_dim; d += 32) queries[row * head_dim + d] = to_float(from[d]);
    }

    VisibleKeys visible[kGeneralWarpRows];
    float largest[kGeneralWarpRows], sum[kGeneralWarpRows];  // in units of log2; the sum is this lane's until the end
    float out[kGeneralWarpRows][kColumns];
#pragma unroll
    for (int r = 0; r < kGeneralWarpRows; ++r) {
      visible[r] = visible_keys(args, item, warp_row + r);
      largest[r] = kMinusInfinity;
      sum[r] = 0;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) out[r][c] = 0;
    }
    for (int32_t first_key = item.key_begin; first_key < item.key_end; first_key += kGeneralKeys) {
      __syncthreads();
      load_tile(args.k, first_key);
      __syncthreads();
      float scores[kGeneralWarpRows] = {};
      for (int d = 0; d < head_dim; ++d) {
        const float key = tile[lane * stride + d];
#pragma unroll
        for (int r = 0; r < kGeneralWarpRows; ++r) {
          scores[r] = fmaf(queries[(warp_row + r) * head_dim + d], key, scores[r]);
        }
      }
#pragma unroll
      for (int r = 0; r < kGeneralWarpRows; ++r) {
        const int32_t key = first_key + lane;
        const bool seen = key >= visible[r].low && key <= visible[r].high;
        const float score = seen ? scores[r] * args.scale_log2 : kMinusInfinity;
        const float best = fmaxf(largest[r], warp_max(score));
        const float base = best == kMinusInfinity ? 0.0f : best;  // a row that has seen no key yet
        const float factor = exp2f(largest[r] - base);
        largest[r] = best;
        scores[r] = exp2f(score - base);
        sum[r] = fmaf(sum[r], factor, scores[r]);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) out[r][c] *= factor;
      }
      __syncthreads();
      load_tile(args.v, first_key);
      __syncthreads();
      for (int key = 0; key < kGeneralKeys; ++key) {
        float weights[kGeneralWarpRows];
#pragma unroll
        for (int r = 0; r < kGeneralWarpRows; ++r) weights[r] = __shfl_sync(kAllLanes, scores[r], key);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          const int d = c * 32 + lane;
          const float value = d < head_dim ? tile[key * stride + d] : 0.0f;
#pragma unroll
          for (int r = 0; r < kGeneralWarpRows; ++r) out[r][c] = fmaf(weights[r], value, out[r][c]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kGeneralWarpRows; ++r) {
      const float total = warp_sum(sum[r]);
      const float inverse = inverse_sum(total) * args.v_scale;
      const int row = warp_row + r;
      if (row >= item.num_rows) continue;
      const bool whole = item.first_partial < 0;
      T* const to = output_row<T>(args, item.first_token, item.first_row + row, kv_head);
      const int64_t partial = whole ? 0 : partial_index(args, item.first_partial + row, kv_head);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int d = c * 32 + lane;
        if (d >= head_dim) continue;
        if (whole) {
          to[d] = from_float<T>(out[r][c] * inverse);
        } else {
          args.partial_out[partial * head_dim + d] = out[r][c] * inverse;
        }
      }
      if (!whole && lane == 0) args.partial_lse[partial] = log2_sum(largest[r], total, 1.0f);
    }
    __syncthreads();  // before the next item's queries
  }
}

/// A row of out = sum over parts of 2^(lse - total) * part, total = log2 of the sum of 2^lse. A lane takes kVec
/// neighbouring columns at a time.
template <class T, int kVec>
__device__ __forceinline__ void merge_row(const AttentionArgs& args, const AttentionMerge& merge, int row, int kv_head,
                                          int lane) {
  const auto partial = [&](int part) {
    return partial_index(args, merge.first_partial + part * merge.num_rows + row, kv_head);
  };
  float largest = kMinusInfinity;
  for (int p = lane; p < merge.num_parts; p += 32) largest = fmaxf(largest, args.partial_lse[partial(p)]);
  largest = warp_max(largest);  // finite: every row sees its own key
  const auto factor_of = [&](int part) {
    return part < merge.num_parts ? exp2f(args.partial_lse[partial(part)] - largest) : 0.0f;
  };
  float sum = 0;
  for (int p = lane; p < merge.num_parts; p += 32) sum += factor_of(p);
  const float inverse = 1.0f / warp_sum(sum);
  T* const to = output_row<T>(args, merge.first_token, merge.first_row + row, kv_head);
  for (int first = 0; first < args.head_dim; first += 32 * kVec) {
    const int d = first + lane * kVec;
    const bool inside = d < args.head_dim;
    const float* const from = args.partial_out + (inside ? d : 0);
    float out[kVec] = {};
    for (int base = 0; base < merge.num_parts; base += 32) {
      const float factor = factor_of(base + lane);  // each lane of one part, for all lanes
      const int count = min(32, merge.num_parts - base);
#pragma unroll 8
      for (int p = 0; p < count; ++p) {
        const float of_part = __shfl_sync(kAllLanes, factor, p);
        const float* const values = from + partial(base + p) * args.head_dim;
        if constexpr (kVec == 4) {
          const float4 four = *reinterpret_cast<const float4*>(values);
          out[0] = fmaf(of_part, four.x, out[0]);
          out[1] = fmaf(of_part, four.y, out[1]);
          out[2] = fmaf(of_part, four.z, out[2]);
          out[3] = fmaf(of_part, four.w, out[3]);
        } else {
          out[0] = fmaf(of_part, values[0], out[0]);
        }
      }
    }
    if (!inside) continue;
#pragma unroll
    for (int j = 0; j < kVec; ++j) to[d + j] = from_float<T>(out[j] * inverse);
  }
}

/// Grid (any, kv heads), one warp a row.
template <class T>
__global__ void __launch_bounds__(128, 8) attention_merge_kernel(AttentionArgs args, WorkList<AttentionMerge> work) {
  wait_for_earlier_kernels();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int count = *work.count;
  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    const AttentionMerge merge = work.items[i];
    for (int row = static_cast<int>(threadIdx.x) / 32; row < merge.num_rows; row += warps) {
      if (args.head_dim % 4 == 0) {
        merge_row<T, 4>(args, merge, row, kv_head, lane);
      } else {
        merge_row<T, 1>(args, merge, row, kv_head, lane);
      }
    }
  }
}

}  // namespace vitrine::cuda

#include "backend/cuda/moe_kernels.h"

#include <algorithm>

#include "backend/cuda/moe_kernels.cuh"

namespace vitrine::cuda {
namespace {

/// At most this many tiles have rows: every expert may have one that is not full.
int64_t most_tiles(const ExpertGroups& groups) {
  return std::min(groups.num_experts, groups.num_choices) + groups.num_choices / groups.tile_rows;
}

dim3 gemm_grid(const GroupedGemm& job, int columns) {
  const int64_t tiles = most_tiles(job.groups);
  require(tiles <= kMaxGridYZ, "moe: ", job.groups.num_choices, " choices at once are too many");
  return {static_cast<unsigned>(ceil_div(job.n, columns)), static_cast<unsigned>(tiles)};
}

template <class T, class Shape>
void launch_gemm(bool gated, const GroupedGemm& job, cudaStream_t stream) {
  const auto kernel = gated ? moe_gemm_kernel<T, Shape, true> : moe_gemm_kernel<T, Shape, false>;
  const int columns = gated ? Shape::kColumns / 2 : Shape::kColumns;
  launch_kernel("moe_gemm", kernel, gemm_grid(job, columns), Shape::kThreads, Shape::kSharedBytes, stream, job);
}

template <class T>
void launch_tensor_gemm(bool gated, const GroupedGemm& job, cudaStream_t stream) {
  switch (job.groups.tile_rows) {
    case FewRows::kRows: return launch_gemm<T, FewRows>(gated, job, stream);
    case SomeRows::kRows: return launch_gemm<T, SomeRows>(gated, job, stream);
    default: return launch_gemm<T, ManyRows>(gated, job, stream);
  }
}

template <class T>
void launch_plain_gemm(bool gated, const GroupedGemm& job, cudaStream_t stream) {
  const auto kernel = gated ? moe_plain_gemm_kernel<T, true> : moe_plain_gemm_kernel<T, false>;
  launch_kernel("moe_gemm", kernel, gemm_grid(job, gated ? kPlainColumns / 2 : kPlainColumns), kPlainThreads, 0, stream,
                job);
}

}  // namespace

void moe_route(const VitrineTensor& router_logits, const VitrineMoeRouting& routing, cudaStream_t stream) {
  require(routing.top_k > 0 && routing.top_k <= routing.num_experts && router_logits.cols == routing.num_experts,
          "moe: the best ", routing.top_k, " of ", routing.num_experts, " experts cannot be chosen from ",
          router_logits.cols, " logits");
  if (router_logits.rows == 0) return;
  for_dtype(router_logits.dtype, [&](auto element) {
    using T = decltype(element);
    launch_kernel("moe_route", moe_route_kernel<T>, grid_x(ceil_div<int64_t>(router_logits.rows, 4)), 128, 0, stream,
                  static_cast<const T*>(router_logits.data), router_logits.rows, routing);
  });
}

int32_t moe_tile_rows(int dtype, bool aligned, int64_t choices, int32_t experts) {
  if (dtype == VITRINE_FLOAT32 || !aligned) return kPlainRows;
  const int64_t mean = choices / experts;
  return mean <= FewRows::kRows ? FewRows::kRows : mean <= SomeRows::kRows ? SomeRows::kRows : ManyRows::kRows;
}

void moe_group(const int32_t* expert_ids, const ExpertGroups& groups, cudaStream_t stream) {
  const auto shared = static_cast<size_t>(groups.num_experts) * sizeof(int32_t);
  launch_kernel("moe_group", moe_group_kernel, 1, 1024, shared, stream, expert_ids, groups);
}

void moe_gemm(int dtype, bool aligned, bool gated, const GroupedGemm& job, cudaStream_t stream) {
  if (job.groups.num_choices == 0 || job.n == 0) return;
  if (!aligned || dtype == VITRINE_FLOAT32) {
    for_dtype(dtype, [&](auto element) { launch_plain_gemm<decltype(element)>(gated, job, stream); });
  } else if (dtype == VITRINE_FLOAT16) {
    launch_tensor_gemm<__half>(gated, job, stream);
  } else {
    launch_tensor_gemm<__nv_bfloat16>(gated, job, stream);
  }
}

void moe_combine(const void* results, const int32_t* row_of_choice, const float* weights, int32_t top_k,
                 const VitrineTensor& out, cudaStream_t stream) {
  if (out.rows == 0) return;
  for_dtype(out.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kVec = Vec16<T>::kSize;
    const bool vectors = out.cols % kVec == 0 && aligned_16(out.data);
    const auto kernel = vectors ? moe_combine_kernel<T, kVec> : moe_combine_kernel<T, 1>;
    launch_kernel("moe_combine", kernel, grid_x(out.rows), 256, 0, stream, static_cast<const T*>(results),
                  row_of_choice, weights, top_k, static_cast<int>(out.cols), static_cast<T*>(out.data));
  });
}

}  // namespace vitrine::cuda

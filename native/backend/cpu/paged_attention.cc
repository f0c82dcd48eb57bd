// Planning and dispatch; the arithmetic is in attention.inc.
#include "backend/cpu/paged_attention.h"

#include <algorithm>

#include "backend/cpu/lanes.h"
#include "core/check.h"

namespace vitrine {
namespace {

constexpr int64_t kInlineCost = 100'000;  // products below which waking the threads costs more than it saves

}  // namespace

PagedAttention::PagedAttention(const CpuKernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), scratch_(static_cast<size_t>(pool.size())) {}

void PagedAttention::plan(const AttentionShape& shape, const AttentionBatch& batch) {
  require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0, "attention: ", shape.num_heads,
          " query heads are not a multiple of ", shape.num_kv_heads, " kv heads");
  shape_ = shape;
  items_.clear();
  total_cost_ = 0;
  const int32_t group = shape.num_heads / shape.num_kv_heads;
  const int32_t tokens_per_item = std::max(1, kernels_.attention_rows / group);
  scratch_bytes_ = kernels_.attention_scratch_bytes(int64_t{tokens_per_item} * group, shape.head_dim);
  for (int32_t r = 0; r < batch.num_requests; ++r) {
    const int32_t start = batch.query_start[r];
    const int32_t end = batch.query_start[r + 1];
    const int32_t first_position = batch.seq_lens[r] - (end - start);
    for (int32_t token = start; token < end; token += tokens_per_item) {
      AttentionItem item;
      item.first_token = token;
      item.tokens = std::min(tokens_per_item, end - token);
      item.first_position = first_position + (token - start);
      item.blocks = batch.blocks + batch.block_start[r];
      const int64_t cost = int64_t{item.tokens} * group * (int64_t{item.first_position} + item.tokens);
      for (item.kv_head = 0; item.kv_head < shape.num_kv_heads; ++item.kv_head) items_.push_back({item, cost});
      total_cost_ += cost * shape.num_kv_heads;
    }
  }
  // Items of one cost stay in the batch's order, whatever the library's sort does.
  const auto before = [](const PlannedItem& a, const PlannedItem& b) {
    if (a.cost != b.cost) return a.cost > b.cost;
    if (a.item.first_token != b.item.first_token) return a.item.first_token < b.item.first_token;
    return a.item.kv_head < b.item.kv_head;
  };
  if (!std::is_sorted(items_.begin(), items_.end(), before)) std::sort(items_.begin(), items_.end(), before);
}

void PagedAttention::run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) {
  AttentionArgs args;
  args.q = qkv.f32();
  args.q_stride = qkv.cols;
  args.out = out.f32();
  args.out_stride = out.cols;
  args.cache = cache;
  args.group = shape_.num_heads / shape_.num_kv_heads;
  args.window = sliding_window;
  args.scale = shape_.scale;
  for (AlignedBuffer& scratch : scratch_) scratch.reserve(scratch_bytes_);
  const bool parallel = total_cost_ * shape_.head_dim > kInlineCost;
  for_each_in_lanes(pool_, parallel, static_cast<int64_t>(items_.size()), [&](int64_t lane, int64_t i) {
    kernels_.attend(args, items_[static_cast<size_t>(i)].item, scratch_[static_cast<size_t>(lane)].data());
  });
}

}  // namespace vitrine

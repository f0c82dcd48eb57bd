// Planning and dispatch; the arithmetic is in attention.inc.
#include "backend/cpu/paged_attention.h"

#include <algorithm>

#include "backend/cpu/lanes.h"
#include "core/check.h"

namespace vitrine {
namespace {

constexpr int64_t kInlineCost = 100'000;  // products below which waking the threads costs more than it saves
constexpr int32_t kItemsPerThread = 1;    // of a decode batch smaller than the pool

}  // namespace

PagedAttention::PagedAttention(const CpuKernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), scratch_(static_cast<size_t>(pool.size())) {}

void PagedAttention::plan(const AttentionShape& shape, const AttentionBatch& batch) {
  require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0, "attention: ", shape.num_heads,
          " query heads are not a multiple of ", shape.num_kv_heads, " kv heads");
  shape_ = shape;
  items_.clear();
  scratch_bytes_ = 0;
  const int32_t group = shape.num_heads / shape.num_kv_heads;
  int64_t products = 0;
  for (int32_t r = 0; r < batch.num_requests; ++r) {
    products += int64_t{batch.query_start[r + 1] - batch.query_start[r]} * batch.seq_lens[r] * shape.num_heads;
  }
  parallel_ = pool_.size() > 1 && products * shape.head_dim > kInlineCost;
  for (int32_t r = 0; r < batch.num_requests; ++r) plan_request(batch, r, group);
  // Items of one cost stay in the batch's order, whatever the library's sort does.
  const auto before = [](const PlannedItem& a, const PlannedItem& b) {
    if (a.cost != b.cost) return a.cost > b.cost;
    if (a.item.first_token != b.item.first_token) return a.item.first_token < b.item.first_token;
    return a.item.kv_head < b.item.kv_head;
  };
  if (!std::is_sorted(items_.begin(), items_.end(), before)) std::sort(items_.begin(), items_.end(), before);
}

void PagedAttention::plan_request(const AttentionBatch& batch, int32_t request, int32_t group) {
  const int32_t start = batch.query_start[request];
  const int32_t end = batch.query_start[request + 1];
  if (start == end) return;
  const int32_t tokens_per_item = std::min(end - start, std::max(1, kernels_.attention_rows / group));
  // Neighbouring heads lie side by side in the blocks: few query rows take as many of them as leave work for all
  // threads, which turns short reads all over the cache into long ones.
  const int32_t rows = tokens_per_item * group;
  int32_t heads = std::clamp(kernels_.attention_rows / rows, 1, shape_.num_kv_heads);
  if (parallel_) {
    const int32_t parts = std::max(1, kItemsPerThread * pool_.size() / batch.num_requests);
    heads = std::clamp((shape_.num_kv_heads + parts - 1) / parts, 1, heads);
  }
  scratch_bytes_ = std::max(scratch_bytes_, kernels_.attention_scratch_bytes(int64_t{rows} * heads, shape_.head_dim));
  const int32_t first_position = batch.seq_lens[request] - (end - start);
  for (int32_t token = start; token < end; token += tokens_per_item) {
    AttentionItem item;
    item.first_token = token;
    item.tokens = std::min(tokens_per_item, end - token);
    item.first_position = first_position + (token - start);
    item.blocks = batch.blocks + batch.block_start[request];
    for (item.kv_head = 0; item.kv_head < shape_.num_kv_heads; item.kv_head += heads) {
      item.kv_heads = std::min(heads, shape_.num_kv_heads - item.kv_head);
      const int64_t cost = int64_t{item.tokens} * group * item.kv_heads * (int64_t{item.first_position} + item.tokens);
      items_.push_back({item, cost});
    }
  }
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
  args.scale = shape_.scale * cache.k_scale;
  for (AlignedBuffer& scratch : scratch_) scratch.reserve(scratch_bytes_);
  for_each_in_lanes(pool_, parallel_, static_cast<int64_t>(items_.size()), [&](int64_t lane, int64_t i) {
    kernels_.attend(args, items_[static_cast<size_t>(i)].item, scratch_[static_cast<size_t>(lane)].data());
  });
}

}  // namespace vitrine

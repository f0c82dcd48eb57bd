#include "backend/cuda/paged_attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace vitrine::cuda {
namespace {

bool same(const VitrineAttentionShape& a, const VitrineAttentionShape& b) {
  return a.num_heads == b.num_heads && a.num_kv_heads == b.num_kv_heads && a.head_dim == b.head_dim &&
         a.cache_dtype == b.cache_dtype;
}

bool portable_kernels_wanted() {
  const char* const value = std::getenv("VITRINE_CUDA_ATTENTION");
  const std::string_view wanted = value == nullptr ? "" : value;
  require(wanted.empty() || wanted == "auto" || wanted == "portable",
          "VITRINE_CUDA_ATTENTION: expected auto or portable, got ", wanted);
  return wanted == "portable";
}

}  // namespace

PagedAttention::PagedAttention(StepInputs& inputs, const bool& fixed, int dtype, int multiprocessors)
    : inputs_(inputs),
      fixed_(fixed),
      types_{dtype, dtype},
      multiprocessors_(multiprocessors),
      portable_(portable_kernels_wanted()),
      partials_(fixed) {}

void PagedAttention::plan(const VitrineAttentionShape& shape, const VitrineAttentionBatch& batch) {
  require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0, "attention: ", shape.num_heads,
          " query heads are not a multiple of ", shape.num_kv_heads, " kv heads");
  require(shape.scale > 0, "attention: the scale must be positive, got ", shape.scale);
  if (!same(shape, shape_)) choose_kernels(shape);
  shape_ = shape;
  batch_ = batch;
  const auto requests = static_cast<size_t>(batch.num_requests);
  query_start_.assign(batch.host_query_start, batch.host_query_start + (requests == 0 ? 0 : requests + 1));
  seq_lens_.assign(batch.host_seq_lens, batch.host_seq_lens + requests);
  require(!fixed_ || batch.num_tokens == batch.num_requests,
          "attention: a step of fixed memory has one token a request");
  lines_.clear();
  for (WindowPlan& plan : plans_) make(plan);
  upload();
}

void PagedAttention::choose_kernels(const VitrineAttentionShape& shape) {
  tiling_ = {};
  types_.cached = shape.cache_dtype;
  tiling_.group = shape.num_heads / shape.num_kv_heads;
  tiling_.kv_heads = shape.num_kv_heads;
  AttentionFit fit = attention_decode_fit(types_, shape.head_dim);
  AttentionFit long_fit = portable_ ? AttentionFit{} : attention_hopper_fit(types_, shape.head_dim);
  run_long_ = attention_hopper;
  if (long_fit.rows == 0) {
    long_fit = attention_prefill_fit(types_, shape.head_dim);
    run_long_ = attention_prefill;
  }
  if (fit.rows > 0) {
    run_short_ = attention_decode;
    tiling_.long_rows = long_fit.rows;
  } else if (long_fit.rows > 0) {  // too little shared memory for the rings of the decode kernel
    run_short_ = run_long_;
    fit = long_fit;
  } else {
    run_short_ = attention_general;
    fit = attention_general_fit(types_, shape.head_dim);
  }
  require(fit.rows > 0, "attention: head_dim ", shape.head_dim, " is not supported on this device");
  const auto slots = [this](const AttentionFit& kernel) {
    return std::max(1, kernel.blocks_per_multiprocessor) * multiprocessors_;
  };
  tiling_.short_rows = fit.rows;
  tiling_.slots = slots(fit);
  tiling_.long_slots = slots(long_fit);
}

template <class Item>
PagedAttention::List PagedAttention::append(const std::vector<Item>& items, int32_t capacity) {
  static_assert(sizeof(Item) == sizeof(Line));
  const List list{lines_.size(), capacity};
  lines_.resize(lines_.size() + static_cast<size_t>(capacity));
  if (!items.empty()) std::memcpy(&lines_[list.first_line], items.data(), items.size() * sizeof(Item));
  return list;
}

void PagedAttention::make(WindowPlan& plan) {
  plan_attention(tiling_, query_start_, seq_lens_, plan.window, plan_);
  const auto count = [](const auto& list) { return static_cast<int32_t>(list.size()); };
  AttentionCapacity capacity{count(plan_.short_items), count(plan_.long_items), count(plan_.merges),
                             plan_.partial_rows};
  const Line counts{capacity.short_items, capacity.long_items, capacity.merges};
  if (fixed_) capacity = decode_capacity(tiling_, batch_.num_requests);
  plan.counts_line = lines_.size();
  lines_.push_back(counts);
  plan.short_items = append(plan_.short_items, capacity.short_items);
  plan.long_items = append(plan_.long_items, capacity.long_items);
  plan.merges = append(plan_.merges, capacity.merges);
  plan.partial_rows = static_cast<size_t>(capacity.partial_rows);
}

void PagedAttention::upload() {
  if (lines_.empty()) return;
  const size_t bytes = lines_.size() * sizeof(Line);
  if (fixed_) {
    auto* const place = static_cast<int32_t*>(fixed_lines_.reserve(bytes));
    inputs_.upload_to(place, lines_[0].data(), bytes / sizeof(int32_t));
    on_device_ = reinterpret_cast<const Line*>(place);
  } else {
    on_device_ = static_cast<const Line*>(inputs_.upload(lines_.data(), bytes));
  }
  for (const WindowPlan& plan : plans_) partials_.reserve(partial_bytes(plan.partial_rows));
}

size_t PagedAttention::partial_bytes(size_t rows) const {
  const size_t row_floats = static_cast<size_t>(shape_.num_kv_heads) * (static_cast<size_t>(shape_.head_dim) + 1);
  return rows * row_floats * sizeof(float);
}

size_t PagedAttention::reserve(const VitrineStepLimits& limits) {
  choose_kernels(limits.attention);
  shape_ = limits.attention;
  plans_.clear();
  for (int32_t i = 0; i < limits.num_windows; ++i) plans_.emplace_back().window = limits.windows[i];
  const auto line_bytes = [&](const AttentionCapacity& most) {
    const int64_t lines = int64_t{1} + most.short_items + most.long_items + most.merges;
    return plans_.size() * static_cast<size_t>(lines) * sizeof(Line);
  };
  const AttentionCapacity any = batch_capacity(tiling_, limits.max_tokens, limits.max_requests);
  const AttentionCapacity fixed = decode_capacity(tiling_, limits.max_requests);
  partials_.reserve(partial_bytes(static_cast<size_t>(any.partial_rows)), false);
  partials_.reserve(partial_bytes(static_cast<size_t>(fixed.partial_rows)), true);
  fixed_lines_.reserve(line_bytes(fixed));
  return std::max(line_bytes(any), line_bytes(fixed));
}

const PagedAttention::WindowPlan& PagedAttention::plan_of(int32_t window) {
  const auto found =
      std::find_if(plans_.begin(), plans_.end(), [&](const auto& plan) { return plan.window == window; });
  if (found != plans_.end()) return *found;
  plans_.emplace_back().window = window;
  make(plans_.back());
  upload();
  inputs_.flush();  // this op is being queued already
  return plans_.back();
}

void PagedAttention::run(const VitrineKvLayer& cache, const VitrineTensor& qkv, int32_t window,
                         const VitrineTensor& out, cudaStream_t stream) {
  if (query_start_.empty() || query_start_.back() == 0) return;
  require(qkv.dtype == types_.values && out.dtype == types_.values, "attention: dtypes ", qkv.dtype, " and ", out.dtype,
          " of queries and output are not the context's ", types_.values);
  require(cache.dtype == types_.cached, "attention: the cache's dtype ", cache.dtype, " is not the planned ",
          types_.cached);
  require(cache.k_scale > 0 && cache.v_scale > 0, "attention: the cache's scales must be positive, got ", cache.k_scale,
          " and ", cache.v_scale);
  require(qkv.cols == (int64_t{shape_.num_heads} + 2 * shape_.num_kv_heads) * shape_.head_dim &&
              out.cols == int64_t{shape_.num_heads} * shape_.head_dim && cache.head_dim == shape_.head_dim &&
              cache.num_kv_heads == shape_.num_kv_heads && cache.block_size == shape_.block_size,
          "attention: the tensors are not of the planned shape");
  require(aligned_16(qkv.data) && aligned_16(out.data) && aligned_16(cache.k) && aligned_16(cache.v),
          "attention: tensors must be aligned to 16 bytes");
  const WindowPlan& plan = plan_of(window);

  AttentionArgs args;
  args.q = qkv.data;
  args.q_stride = qkv.cols;
  args.out = out.data;
  args.out_stride = out.cols;
  args.k = cache.k;
  args.v = cache.v;
  args.block_start = batch_.block_start;
  args.blocks = batch_.blocks;
  args.partial_out = static_cast<float*>(partials_.reserve(0));
  args.partial_lse = args.partial_out + static_cast<int64_t>(plan.partial_rows) * shape_.num_kv_heads * shape_.head_dim;
  args.kv_heads = shape_.num_kv_heads;
  args.group = tiling_.group;
  args.head_dim = shape_.head_dim;
  args.block_size = shape_.block_size;
  const auto block_size = static_cast<uint32_t>(shape_.block_size);
  args.block_shift = std::has_single_bit(block_size) ? std::countr_zero(block_size) : -1;
  args.window = window;
  args.scale_log2 = shape_.scale * cache.k_scale * static_cast<float>(M_LOG2E);
  args.v_scale = cache.v_scale;

  const auto* const counts = reinterpret_cast<const int32_t*>(on_device_ + plan.counts_line);
  const auto items = [&](const List& list) {
    return reinterpret_cast<const AttentionItem*>(on_device_ + list.first_line);
  };
  run_short_(types_, args, {items(plan.short_items), counts}, plan.short_items.blocks, stream);
  run_long_(types_, args, {items(plan.long_items), counts + 1}, plan.long_items.blocks, stream);
  const auto* const merges = reinterpret_cast<const AttentionMerge*>(on_device_ + plan.merges.first_line);
  attention_merge(types_.values, args, {merges, counts + 2}, plan.merges.blocks, stream);
}

}  // namespace vitrine::cuda

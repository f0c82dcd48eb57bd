// AttentionBackend of the CPU: cuts the batch into items (request, query block, kv heads) once a step and runs them on
// the threads, largest first, for each layer. The keys of one query are never split over threads.
#pragma once

#include <vector>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernels.h"
#include "core/thread_pool.h"

namespace vitrine {

class PagedAttention final : public AttentionBackend {
 public:
  PagedAttention(const CpuKernels& kernels, ThreadPool& pool);

  void plan(const AttentionShape& shape, const AttentionBatch& batch) override;
  void run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) override;

 private:
  void plan_request(const AttentionBatch& batch, int32_t request, int32_t group);

  struct PlannedItem {
    AttentionItem item;
    int64_t cost;  ///< rows * keys
  };

  const CpuKernels& kernels_;
  ThreadPool& pool_;
  AttentionShape shape_;
  std::vector<PlannedItem> items_;
  bool parallel_ = false;
  size_t scratch_bytes_ = 0;
  std::vector<AlignedBuffer> scratch_;  ///< one per lane
};

}  // namespace vitrine

// Attention over the paged KV cache: plans a step on the host, as a part of its inputs, then runs once a layer.
// Engine thread.
#pragma once

#include <array>
#include <vector>

#include "backend/cuda/attention.h"
#include "backend/cuda/step_inputs.h"

namespace vitrine::cuda {

class PagedAttention {
 public:
  /// dtype: of activations. `fixed`: whether the current step's memory is that of captured ones, which are of
  /// one token a request; the grids and the places of all their lists depend on the number of requests alone, so that a
  /// captured step can be replayed with other lengths. The environment's VITRINE_CUDA_ATTENTION=portable keeps to the
  /// kernels that every architecture has; unset, empty or auto takes those of Hopper where they are; anything else is
  /// an Error.
  PagedAttention(StepInputs& inputs, const bool& fixed, int dtype, int multiprocessors);

  /// The batch's device pointers must last until the step's last run(). Host arrays may change on return.
  void plan(const VitrineAttentionShape& shape, const VitrineAttentionBatch& batch);

  /// Layers may have different windows. A window that no step has run before is planned on the spot, at the price of a
  /// copy; from then on plan() plans it with the others.
  void run(const VitrineKvLayer& cache, const VitrineTensor& qkv, int32_t window, const VitrineTensor& out,
           cudaStream_t stream);

  /// Has room for the parts of split keys in such steps. Returns the most bytes of input that their plans take.
  size_t reserve(const VitrineStepLimits& limits);
  size_t device_bytes() const { return partials_.bytes() + fixed_lines_.bytes(); }

 private:
  using Line = std::array<int32_t, 8>;  ///< an item, a merge, or the counts at the beginning of a window's lists

  /// A list in the device's copy of the plans and the blocks that go over it.
  struct List {
    size_t first_line = 0;
    int32_t blocks = 0;
  };
  struct WindowPlan {
    int32_t window = 0;
    size_t counts_line = 0;
    List short_items, long_items, merges;
    size_t partial_rows = 0;
  };
  void choose_kernels(const VitrineAttentionShape& shape);
  const WindowPlan& plan_of(int32_t window);
  void make(WindowPlan& plan);
  template <class Item>
  List append(const std::vector<Item>& items, int32_t capacity);
  void upload();
  size_t partial_bytes(size_t rows) const;

  StepInputs& inputs_;
  const bool& fixed_;
  AttentionTypes types_;  ///< the cache's is that of the shape
  const int multiprocessors_;
  const bool portable_;  ///< as the environment asks
  VitrineAttentionShape shape_{};
  AttentionTiling tiling_;
  AttentionLauncher run_short_ = nullptr;
  AttentionLauncher run_long_ = nullptr;
  VitrineAttentionBatch batch_{};
  std::vector<int32_t> query_start_;
  std::vector<int32_t> seq_lens_;
  StepScratch partials_;
  Scratch fixed_lines_;  ///< where captured steps find their plans
  std::vector<WindowPlan> plans_;
  AttentionPlan plan_;       ///< reused
  std::vector<Line> lines_;  ///< all plans, as they go to the device
  const Line* on_device_ = nullptr;
};

}  // namespace vitrine::cuda

// Activations of one step, allocated once for the largest batch. Attention and MLP take turns in the same scratch.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/model_spec.h"

namespace vitrine {

/// Rows of a slice of the MLP for steps of up to `max_tokens`: as many as the backend works through at once best,
/// within a bound on their bytes.
int64_t mlp_slice_rows(const Backend& backend, const ModelSpec& spec, int64_t max_tokens);

/// Every tensor has the most rows it may need; blocks work on first_rows(). T = max_tokens.
class Workspace {
 public:
  Workspace(Backend& backend, const ModelSpec& spec, int64_t max_tokens);

  size_t bytes() const;

  int32_t* token_ids = nullptr;  ///< [T]
  Tensor residual;               ///< [T, hidden]
  Tensor normed;                 ///< [T, hidden]
  Tensor delta;                  ///< [T, hidden]: what the last block adds to the residual

  Tensor qkv;             ///< [T, (H + 2K) * D]
  Tensor heads;           ///< [T, H * D]
  Tensor selected_heads;  ///< [T, H * D], in the place of qkv: used when qkv is not needed any more

  Tensor gate_up;    ///< [mlp rows, 2I]; the MLP works through the batch in slices of so many rows
  Tensor activated;  ///< [mlp rows, I]

  Tensor router_logits;             ///< [T, E]
  int32_t* expert_ids = nullptr;    ///< [T, top_k]
  float* expert_weights = nullptr;  ///< [T, top_k]

  Tensor logits;  ///< [logit rows, vocab]; more rows are computed in turns

 private:
  void* allocate(size_t bytes);

  Backend& backend_;
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
};

}  // namespace vitrine

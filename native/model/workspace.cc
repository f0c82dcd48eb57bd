// Sizes of the activations.
#include "model/workspace.h"

#include <algorithm>

namespace vitrine {
namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kMlpBytes = int64_t{1} << 30;      // bounds the widest activations, where the backend sets no bound
constexpr int64_t kLogitBytes = int64_t{128} << 20;  // bounds [rows, vocab] when a long prompt wants log-probabilities

size_t tensor_bytes(const Tensor& tensor) {
  const size_t bytes = static_cast<size_t>(tensor.rows) * static_cast<size_t>(tensor.cols) * dtype_size(tensor.dtype);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void* offset(void* base, size_t bytes) { return static_cast<char*>(base) + bytes; }

}  // namespace

int64_t mlp_slice_rows(const Backend& backend, const ModelSpec& spec, int64_t max_tokens) {
  if (!spec.has_dense_mlp()) return 0;
  const int64_t row_bytes = 3 * spec.intermediate_size * static_cast<int64_t>(dtype_size(backend.activation_dtype()));
  return std::min({max_tokens, backend.mlp_slice_rows(), std::max<int64_t>(1, kMlpBytes / row_bytes)});
}

Workspace::Workspace(Backend& backend, const ModelSpec& spec, int64_t max_tokens) : backend_(backend) {
  const DType dtype = backend.activation_dtype();
  const auto shape = [dtype](int64_t rows, int64_t cols) { return Tensor{nullptr, dtype, rows, cols}; };
  const auto place = [this](Tensor& tensor) { tensor.data = allocate(tensor_bytes(tensor)); };

  token_ids = static_cast<int32_t*>(allocate(static_cast<size_t>(max_tokens) * sizeof(int32_t)));
  for (Tensor* tensor : {&residual, &normed, &delta}) {
    *tensor = shape(max_tokens, spec.hidden_size);
    place(*tensor);
  }

  qkv = shape(max_tokens, spec.qkv_size());
  heads = shape(max_tokens, spec.q_size());
  const int64_t mlp_rows = mlp_slice_rows(backend, spec, max_tokens);
  gate_up = shape(mlp_rows, 2 * spec.intermediate_size);
  activated = shape(mlp_rows, spec.intermediate_size);
  void* scratch =
      allocate(std::max(tensor_bytes(qkv) + tensor_bytes(heads), tensor_bytes(gate_up) + tensor_bytes(activated)));
  qkv.data = gate_up.data = scratch;
  heads.data = offset(scratch, tensor_bytes(qkv));
  activated.data = offset(scratch, tensor_bytes(gate_up));
  selected_heads = heads;
  selected_heads.data = scratch;

  int64_t experts = 0;
  int64_t top_k = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.moe) continue;
    experts = std::max<int64_t>(experts, layer.moe->num_experts);
    top_k = std::max<int64_t>(top_k, layer.moe->top_k);
  }
  if (experts > 0) {
    router_logits = shape(max_tokens, experts);
    place(router_logits);
    const size_t choices = static_cast<size_t>(max_tokens * top_k);
    expert_ids = static_cast<int32_t*>(allocate(choices * sizeof(int32_t)));
    expert_weights = static_cast<float*>(allocate(choices * sizeof(float)));
  }

  const int64_t row_bytes = int64_t{spec.vocab_size} * static_cast<int64_t>(dtype_size(dtype));
  logits = shape(std::clamp<int64_t>(kLogitBytes / row_bytes, 1, max_tokens), spec.vocab_size);
  place(logits);
}

size_t Workspace::bytes() const {
  size_t total = 0;
  for (const auto& buffer : buffers_) total += buffer->bytes();
  return total;
}

void* Workspace::allocate(size_t bytes) {
  buffers_.push_back(backend_.allocate(bytes));
  return buffers_.back()->data();
}

}  // namespace vitrine

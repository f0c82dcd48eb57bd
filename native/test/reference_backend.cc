// Textbook loops; speed does not matter here.
#include "reference_backend.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/check.h"
#include "core/float8_rows.h"
#include "core/memory_probe.h"

namespace vitrine {
namespace {

float load_element(const void* data, size_t index, DType dtype) {
  if (dtype == DType::kFloat32) {
    float value;
    std::memcpy(&value, static_cast<const char*>(data) + index * 4, 4);
    return value;
  }
  if (dtype == DType::kFloat8E4M3) return e4m3_to_float(static_cast<const uint8_t*>(data)[index]);
  uint16_t bits;
  std::memcpy(&bits, static_cast<const char*>(data) + index * 2, 2);
  return dtype == DType::kFloat16 ? half_to_float(bits) : bf16_to_float(bits);
}

void store_element(void* data, size_t index, DType dtype, float value) {
  if (dtype == DType::kFloat32) {
    static_cast<float*>(data)[index] = value;
  } else if (dtype == DType::kFloat8E4M3) {
    static_cast<uint8_t*>(data)[index] = float_to_e4m3(value);
  } else {
    static_cast<uint16_t*>(data)[index] = dtype == DType::kFloat16 ? float_to_half(value) : float_to_bf16(value);
  }
}

float rounded(float value, DType dtype) {
  if (dtype == DType::kFloat32 || dtype == DType::kFloat8E4M3) return value;
  return dtype == DType::kFloat16 ? half_to_float(float_to_half(value)) : bf16_to_float(float_to_bf16(value));
}

/// What the codes and the scale of a row stand for.
void quantize(const float* x, int64_t size, float* to) {
  float largest = kFloat8LeastMagnitude;
  for (int64_t i = 0; i < size; ++i) largest = std::max(largest, std::abs(x[i]));
  const float scale = largest / kFloat8Largest;
  for (int64_t i = 0; i < size; ++i) to[i] = e4m3_to_float(float_to_e4m3(x[i] / scale)) * scale;
}

class ReferenceWeight : public Weight {
 public:
  ReferenceWeight(int64_t rows, int64_t cols, DType dtype)
      : rows_(rows), cols_(cols), dtype_(dtype), values_(static_cast<size_t>(rows * cols), NAN) {}
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return values_.size() * dtype_size(dtype_); }
  DType dtype() const { return dtype_; }
  float* row(int64_t index) { return values_.data() + index * cols_; }
  const float* row(int64_t index) const { return values_.data() + index * cols_; }

 private:
  int64_t rows_;
  int64_t cols_;
  DType dtype_;
  std::vector<float> values_;
};

const ReferenceWeight& reference(const Weight& weight) { return static_cast<const ReferenceWeight&>(weight); }
const float* gains(const Weight& weight) { return reference(weight).row(0); }

class ReferenceBuffer : public DeviceBuffer {
 public:
  explicit ReferenceBuffer(size_t bytes) : words_(bytes / 8 + 1), bytes_(bytes) {}
  void* data() const override { return const_cast<uint64_t*>(words_.data()); }
  size_t bytes() const override { return bytes_; }

 private:
  std::vector<uint64_t> words_;
  size_t bytes_;
};

float* row_of(const Tensor& tensor, int64_t row) { return tensor.f32() + row * tensor.cols; }

void normalize(const float* x, const float* gain, int64_t size, float eps, float* out) {
  double squares = 0;
  for (int64_t i = 0; i < size; ++i) squares += double{x[i]} * x[i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(size) + eps);
  for (int64_t i = 0; i < size; ++i) out[i] = static_cast<float>(x[i] * scale * gain[i]);
}

double activate(double x, Activation activation) {
  switch (activation) {
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kGelu: return x * (1 + std::erf(x * M_SQRT1_2)) / 2;
    case Activation::kGeluTanh: return x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) / 2;
  }
  return NAN;
}

size_t cache_index(const KvLayer& cache, int64_t slot, int64_t head) {
  const int64_t block = slot / cache.block_size;
  const int64_t offset = slot % cache.block_size;
  return static_cast<size_t>(((block * cache.num_kv_heads + head) * cache.block_size + offset) * cache.head_dim);
}

/// Ids by falling value, ties by lower id.
template <class Value>
std::vector<int32_t> ranking(const Value* values, int32_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return values[a] > values[b]; });
  return ids;
}

class ReferenceAttention : public AttentionBackend {
 public:
  void plan(const AttentionShape& shape, const AttentionBatch& batch) override {
    shape_ = shape;
    batch_ = batch;
  }

  void run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) override {
    for (int32_t r = 0; r < batch_.num_requests; ++r) {
      const int32_t first = batch_.query_start[r];
      const int32_t end = batch_.query_start[r + 1];
      for (int32_t t = first; t < end; ++t) {
        const int32_t position = batch_.seq_lens[r] - (end - first) + (t - first);
        const int32_t oldest = sliding_window > 0 ? std::max(0, position - sliding_window + 1) : 0;
        for (int32_t head = 0; head < shape_.num_heads; ++head) attend(cache, qkv, r, t, head, oldest, position, out);
      }
    }
  }

 private:
  void attend(const KvLayer& cache, const Tensor& qkv, int32_t request, int32_t token, int32_t head, int32_t oldest,
              int32_t newest, const Tensor& out) const {
    const int32_t size = shape_.head_dim;
    const int32_t kv_head = head / (shape_.num_heads / shape_.num_kv_heads);
    const float* query = row_of(qkv, token) + head * size;
    std::vector<double> scores;
    std::vector<size_t> places;
    for (int32_t p = oldest; p <= newest; ++p) {
      const int32_t block = batch_.blocks[batch_.block_start[request] + p / cache.block_size];
      places.push_back(cache_index(cache, int64_t{block} * cache.block_size + p % cache.block_size, kv_head));
      double score = 0;
      for (int32_t d = 0; d < size; ++d) {
        score += double{query[d]} * load_element(cache.k, places.back() + static_cast<size_t>(d), cache.dtype);
      }
      scores.push_back(score * cache.k_scale * shape_.scale);
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    std::vector<double> sum(static_cast<size_t>(size));
    for (size_t i = 0; i < scores.size(); ++i) {
      const double weight = std::exp(scores[i] - largest);
      total += weight;
      for (size_t d = 0; d < sum.size(); ++d) sum[d] += weight * load_element(cache.v, places[i] + d, cache.dtype);
    }
    float* to = row_of(out, token) + head * size;
    for (size_t d = 0; d < sum.size(); ++d) to[d] = static_cast<float>(sum[d] / total * cache.v_scale);
  }

  AttentionShape shape_;
  AttentionBatch batch_;
};

class ReferenceBackend : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  DType activation_dtype() const override { return DType::kFloat32; }

  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override { return std::make_unique<ReferenceBuffer>(bytes); }
  size_t available_bytes() const override { return MemoryProbe().available_bytes(); }
  const int32_t* upload(std::span<const int32_t> words) override { return words.data(); }
  void download(const Tensor& from, float* to) override { std::copy_n(from.f32(), from.rows * from.cols, to); }
  void synchronize() override {}

  std::unique_ptr<Weight> create_weight(WeightKind, int64_t rows, int64_t cols, DType dtype) override {
    return std::make_unique<ReferenceWeight>(rows, cols, dtype);
  }

  void load_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source, DType stored) override {
    auto& to = static_cast<ReferenceWeight&>(weight);
    require(first_row >= 0 && first_row + row_count <= to.rows(), "load_rows: outside the weight");
    for (int64_t i = 0; i < row_count * to.cols(); ++i) {
      to.row(first_row)[i] = rounded(load_element(source, static_cast<size_t>(i), stored), to.dtype());
    }
    for (int64_t i = 0; i < row_count && to.dtype() == DType::kFloat8E4M3; ++i) {
      quantize(to.row(first_row + i), to.cols(), to.row(first_row + i));
    }
  }

  void load_quantized_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source,
                           const float* scales) override {
    auto& to = static_cast<ReferenceWeight&>(weight);
    require(to.dtype() == DType::kFloat8E4M3, "load_quantized_rows: not a float8 weight");
    require(first_row >= 0 && first_row + row_count <= to.rows(), "load_quantized_rows: outside the weight");
    const auto* const codes = static_cast<const uint8_t*>(source);
    for (int64_t i = 0; i < row_count * to.cols(); ++i) {
      to.row(first_row)[i] = e4m3_to_float(codes[i]) * scales[i / to.cols()];
    }
  }

  void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) override {
    for (int32_t i = 0; i < count; ++i) out[i] = ids[i] >= 0 ? ids[i] : last_sampled[-(ids[i] + 1)];
  }

  void embed(const Weight& table, const int32_t* ids, const Tensor& out) override {
    for (int64_t t = 0; t < out.rows; ++t) std::copy_n(reference(table).row(ids[t]), out.cols, row_of(out, t));
  }

  void rms_norm(const Tensor& x, const Weight& gain, float eps, const Tensor& out) override {
    for (int64_t t = 0; t < x.rows; ++t) normalize(row_of(x, t), gains(gain), x.cols, eps, row_of(out, t));
  }

  void add_rms_norm(const Tensor& residual, const Tensor& delta, const Weight& gain, float eps,
                    const Tensor& out) override {
    for (int64_t i = 0; i < residual.rows * residual.cols; ++i) residual.f32()[i] += delta.f32()[i];
    rms_norm(residual, gain, eps, out);
  }

  void linear(const Weight& weight, const Weight* bias, const Tensor& x, const Tensor& out) override {
    const ReferenceWeight& w = reference(weight);
    std::vector<float> row(static_cast<size_t>(x.cols));
    for (int64_t t = 0; t < x.rows; ++t) {
      std::copy_n(row_of(x, t), x.cols, row.begin());
      if (w.dtype() == DType::kFloat8E4M3) quantize(row.data(), x.cols, row.data());
      for (int64_t n = 0; n < w.rows(); ++n) {
        double sum = 0;
        for (int64_t k = 0; k < w.cols(); ++k) sum += double{row[static_cast<size_t>(k)]} * w.row(n)[k];
        row_of(out, t)[n] = static_cast<float>(sum + (bias != nullptr ? gains(*bias)[n] : 0));
      }
    }
  }

  void rope_and_store(const Tensor& qkv, int32_t num_heads, const RopeTable& rope, const Weight* q_norm,
                      const Weight* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                      const KvLayer& cache) override {
    const int32_t size = cache.head_dim;
    for (int64_t t = 0; t < qkv.rows; ++t) {
      for (int32_t head = 0; head < num_heads + cache.num_kv_heads; ++head) {
        float* x = row_of(qkv, t) + head * size;
        const Weight* norm = head < num_heads ? q_norm : k_norm;
        if (norm != nullptr) normalize(x, gains(*norm), size, eps, x);
        rotate(x, rope, positions[t]);
      }
      for (int32_t head = 0; head < cache.num_kv_heads; ++head) {
        const float* k = row_of(qkv, t) + (num_heads + head) * size;
        const float* v = k + cache.num_kv_heads * size;
        const size_t at = cache_index(cache, kv_slots[t], head);
        for (int32_t d = 0; d < size; ++d) {
          store_element(cache.k, at + static_cast<size_t>(d), cache.dtype, k[d] * (1 / cache.k_scale));
          store_element(cache.v, at + static_cast<size_t>(d), cache.dtype, v[d] * (1 / cache.v_scale));
        }
      }
    }
  }

  AttentionBackend& attention() override { return attention_; }

  void gated_activation(const Tensor& gate_up, Activation activation, const Tensor& out) override {
    for (int64_t t = 0; t < out.rows; ++t) {
      const float* gate = row_of(gate_up, t);
      for (int64_t i = 0; i < out.cols; ++i) {
        row_of(out, t)[i] = static_cast<float>(activate(gate[i], activation) * gate[out.cols + i]);
      }
    }
  }

  void moe_route(const Tensor& router_logits, const MoeRouting& routing) override {
    for (int64_t t = 0; t < router_logits.rows; ++t) {
      const float* logits = row_of(router_logits, t);
      const auto ids = ranking(logits, routing.num_experts);
      double all = 0;
      double chosen = 0;
      for (int32_t e = 0; e < routing.num_experts; ++e) all += std::exp(double{logits[e]} - logits[ids[0]]);
      for (int32_t k = 0; k < routing.top_k; ++k) {
        chosen += std::exp(double{logits[ids[static_cast<size_t>(k)]]} - logits[ids[0]]);
      }
      for (int32_t k = 0; k < routing.top_k; ++k) {
        const int32_t id = ids[static_cast<size_t>(k)];
        routing.expert_ids[t * routing.top_k + k] = id;
        routing.expert_weights[t * routing.top_k + k] =
            static_cast<float>(std::exp(double{logits[id]} - logits[ids[0]]) / (routing.normalize ? chosen : all));
      }
    }
  }

  void moe_experts(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                   Activation activation, const Tensor& out) override {
    for (int64_t t = 0; t < x.rows; ++t) {
      std::vector<double> sum(static_cast<size_t>(out.cols));
      for (int32_t k = 0; k < routing.top_k; ++k) {
        const int64_t choice = t * routing.top_k + k;
        const ExpertWeights& expert = experts[static_cast<size_t>(routing.expert_ids[choice])];
        const int64_t inner = expert.down->cols();
        std::vector<float> gate_up(static_cast<size_t>(2 * inner));
        std::vector<float> activated(static_cast<size_t>(inner));
        std::vector<float> result(static_cast<size_t>(out.cols));
        const Tensor gate_up_row{gate_up.data(), DType::kFloat32, 1, 2 * inner};
        const Tensor activated_row{activated.data(), DType::kFloat32, 1, inner};
        linear(*expert.gate_up, nullptr, x.rows_from(t, 1), gate_up_row);
        gated_activation(gate_up_row, activation, activated_row);
        linear(*expert.down, nullptr, activated_row, {result.data(), DType::kFloat32, 1, out.cols});
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += double{routing.expert_weights[choice]} * result[i];
      }
      for (size_t i = 0; i < sum.size(); ++i) row_of(out, t)[i] = static_cast<float>(sum[i]);
    }
  }

  void gather_rows(const Tensor& x, const int32_t* rows, const Tensor& out) override {
    for (int64_t i = 0; i < out.rows; ++i) std::copy_n(row_of(x, rows[i]), x.cols, row_of(out, i));
  }

  void plan_sampling(std::span<const SampleRequest> samples, std::span<const LogprobRequest> logprobs) override {
    samples_.assign(samples.begin(), samples.end());
    logprobs_.assign(logprobs.begin(), logprobs.end());
  }

  /// Greedy and bias only; random sampling has no reference but its distribution.
  void sample(const Tensor& logits, size_t first, size_t count) override {
    for (const SampleRequest& request : std::span(samples_).subspan(first, count)) {
      const SampleParams& wanted = request.params;
      require(wanted.temperature == 0, "the reference backend samples greedily only");
      std::vector<float> row(row_of(logits, request.row), row_of(logits, request.row) + logits.cols);
      penalize(wanted, row);
      for (size_t b = 0; b < wanted.bias_ids.size(); ++b) {
        row[static_cast<size_t>(wanted.bias_ids[b])] += wanted.bias_values[b];
      }
      *request.token = ranking(row.data(), static_cast<int32_t>(row.size()))[0];
      if (request.device_token != nullptr) *request.device_token = *request.token;
    }
  }

  void logprobs(const Tensor& logits, size_t first, size_t count) override {
    for (const LogprobRequest& request : std::span(logprobs_).subspan(first, count)) {
      const int32_t target =
          request.target >= 0 ? request.target : *samples_[static_cast<size_t>(-(request.target + 1))].token;
      const float* row = row_of(logits, request.row);
      const auto ids = ranking(row, static_cast<int32_t>(logits.cols));
      double total = 0;
      for (int64_t i = 0; i < logits.cols; ++i) total += std::exp(double{row[i]} - row[ids[0]]);
      const auto logprob = [&](int32_t id) { return static_cast<float>(row[id] - row[ids[0]] - std::log(total)); };
      *request.target_logprob = logprob(target);
      for (int32_t k = 0; k < request.top_count; ++k) {
        request.top_ids[k] = ids[static_cast<size_t>(k)];
        request.top_logprobs[k] = logprob(request.top_ids[k]);
      }
      for (size_t k = 0; k < request.watch_ids.size(); ++k) {
        request.watch_logprobs[k] = logprob(request.watch_ids[k]);
      }
    }
  }

 private:
  static void rotate(float* x, const RopeTable& rope, int32_t position) {
    const int32_t half = rope.rotary_dim / 2;
    const float* cos = rope.cos_sin + int64_t{position} * rope.rotary_dim;
    const float* sin = cos + half;
    for (int32_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[half + i];
      x[i] = a * cos[i] - b * sin[i];
      x[half + i] = b * cos[i] + a * sin[i];
    }
  }

  /// As Hugging Face (repetition) and OpenAI (frequency, presence) define them, over the generated tokens.
  static void penalize(const SampleParams& params, std::vector<float>& row) {
    std::vector<int32_t> counts(row.size());
    for (const int32_t id : params.history) ++counts[static_cast<size_t>(id)];
    for (size_t i = 0; i < row.size(); ++i) {
      if (counts[i] == 0) continue;
      row[i] = row[i] > 0 ? row[i] / params.repetition_penalty : row[i] * params.repetition_penalty;
      row[i] -= params.frequency_penalty * static_cast<float>(counts[i]) + params.presence_penalty;
    }
  }

  ReferenceAttention attention_;
  std::vector<SampleRequest> samples_;  ///< planned
  std::vector<LogprobRequest> logprobs_;
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace vitrine

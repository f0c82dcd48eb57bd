// Backend on the CPU: checks shapes, decides which ops are worth the threads, and calls the kernels.
#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernel_table.h"
#include "backend/cpu/kv_store.h"
#include "backend/cpu/lanes.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/moe.h"
#include "backend/cpu/packed_matrix.h"
#include "backend/cpu/paged_attention.h"
#include "backend/cpu/token_sampler.h"
#include "core/check.h"
#include "core/memory_probe.h"

namespace vitrine {
namespace {

constexpr int64_t kInlineElements = 32768;  // floats an op touches before the threads are worth waking
constexpr int64_t kChunkElements = 16384;   // of one task

const PackedMatrix& matrix(const Weight& weight) { return static_cast<const PackedMatrix&>(weight); }
const float* vector(const Weight& weight) { return static_cast<const PackedVector&>(weight).data(); }

class CpuBackend final : public Backend {
 public:
  CpuBackend(CpuIsa isa, ThreadPool& pool)
      : isa_(isa),
        kernels_(kernels_for(isa)),
        pool_(pool),
        linear_(kernels_, pool),
        attention_(kernels_, pool),
        moe_(kernels_, pool, linear_),
        samplers_(static_cast<size_t>(pool.size()), TokenSampler(kernels_)) {}

  std::string_view name() const override { return cpu_isa_name(isa_); }
  DType activation_dtype() const override { return DType::kFloat32; }

  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override { return std::make_unique<AlignedBuffer>(bytes); }
  bool prefault(void* data, size_t bytes) override { return vitrine::prefault(data, bytes); }
  size_t available_bytes() const override { return MemoryProbe().available_bytes(file_cache_bytes_); }
  const int32_t* upload(std::span<const int32_t> words) override { return words.data(); }
  void download(const Tensor& from, float* to) override {
    std::memcpy(to, from.data, static_cast<size_t>(from.rows * from.cols) * sizeof(float));
  }
  void synchronize() override {}

  std::unique_ptr<Weight> create_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype) override {
    if (kind == WeightKind::kMatrix) return std::make_unique<PackedMatrix>(rows, cols, dtype);
    require(cols == 1, "a vector weight has one column, got ", cols);
    return std::make_unique<PackedVector>(rows);
  }

  void load_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source, DType stored) override {
    check_rows(weight, first_row, row_count);
    if (row_count == 0) return;
    if (auto* packed = dynamic_cast<PackedMatrix*>(&weight)) {
      require(stored != DType::kFloat8E4M3, "rows of float8 are loaded with their scales");
      packed->load_rows(first_row, row_count, source, stored, kernels_, pool_);
    } else {
      float* to = static_cast<PackedVector&>(weight).floats();
      require(to != nullptr, "load_rows: the weight's bytes are borrowed");
      kernels_.load_row(source, stored, row_count, to + first_row);
    }
  }

  void load_quantized_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source,
                           const float* scales) override {
    auto* const packed = dynamic_cast<PackedMatrix*>(&weight);
    require(packed != nullptr && packed->dtype() == DType::kFloat8E4M3,
            "quantized rows are loaded into float8 weights");
    check_rows(weight, first_row, row_count);
    packed->load_quantized_rows(first_row, row_count, source, scales, kernels_, pool_);
  }

  std::string_view weight_layout() const override { return kPackedLayout; }
  size_t packed_bytes(WeightKind kind, int64_t rows, int64_t cols, DType dtype) const override {
    return kind == WeightKind::kMatrix ? PackedMatrix::packed_bytes(rows, cols, dtype)
                                       : PackedVector::packed_bytes(rows);
  }
  std::unique_ptr<Weight> borrow_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype, const void* packed,
                                        bool seems_available) override {
    if (seems_available) file_cache_bytes_ += packed_bytes(kind, rows, cols, dtype);
    if (kind == WeightKind::kMatrix) return std::make_unique<PackedMatrix>(rows, cols, dtype, packed);
    return std::make_unique<PackedVector>(rows, packed);
  }

  void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) override {
    for (int32_t i = 0; i < count; ++i) out[i] = ids[i] >= 0 ? ids[i] : last_sampled[-(ids[i] + 1)];
  }

  void embed(const Weight& table, const int32_t* ids, const Tensor& out) override {
    const PackedMatrix& packed = matrix(table);
    for_rows(out.rows, 8 * out.cols, [&](int64_t t) { packed.read_row(ids[t], row(out, t)); });
  }

  void rms_norm(const Tensor& x, const Weight& gain, float eps, const Tensor& out) override {
    for_rows(x.rows, x.cols, [&](int64_t t) { kernels_.rms_norm(row(x, t), vector(gain), eps, x.cols, row(out, t)); });
  }

  void add_rms_norm(const Tensor& residual, const Tensor& delta, const Weight& gain, float eps,
                    const Tensor& out) override {
    for_rows(residual.rows, 2 * residual.cols, [&](int64_t t) {
      kernels_.add_rms_norm(row(residual, t), row(delta, t), vector(gain), eps, residual.cols, row(out, t));
    });
  }

  void linear(const Weight& weight, const Weight* bias, const Tensor& x, const Tensor& out) override {
    require(x.cols == weight.cols() && out.cols == weight.rows() && x.rows == out.rows, "linear: [", x.rows, ", ",
            x.cols, "] times the transpose of [", weight.rows(), ", ", weight.cols(), "] does not give [", out.rows,
            ", ", out.cols, "]");
    linear_.run(matrix(weight), bias ? vector(*bias) : nullptr, x.f32(), x.rows, out.f32());
  }

  void rope_and_store(const Tensor& qkv, int32_t num_heads, const RopeTable& rope, const Weight* q_norm,
                      const Weight* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                      const KvLayer& cache) override {
    const int64_t head_dim = cache.head_dim;
    const int64_t half = rope.rotary_dim / 2;
    const int64_t kv_heads = cache.num_kv_heads;
    require(qkv.cols == (num_heads + 2 * kv_heads) * head_dim, "rope_and_store: ", qkv.cols, " columns are not ",
            num_heads, " + 2 * ", kv_heads, " heads of ", head_dim);
    for_rows(qkv.rows, qkv.cols, [&](int64_t t) {
      float* heads = row(qkv, t);
      const float* cos = rope.cos_sin + positions[t] * int64_t{rope.rotary_dim};
      for (int64_t h = 0; h < num_heads + kv_heads; ++h) {
        float* head = heads + h * head_dim;
        const Weight* norm = h < num_heads ? q_norm : k_norm;
        if (norm) kernels_.rms_norm(head, vector(*norm), eps, head_dim, head);
        kernels_.rotate(head, cos, cos + half, half);
      }
      const float* k = heads + num_heads * head_dim;
      const float* v = k + kv_heads * head_dim;
      for (int64_t h = 0; h < kv_heads; ++h) {
        store_kv_head(kernels_, cache, kv_slots[t], h, k + h * head_dim, v + h * head_dim);
      }
    });
  }

  AttentionBackend& attention() override { return attention_; }

  void gated_activation(const Tensor& gate_up, Activation activation, const Tensor& out) override {
    for_rows(out.rows, 3 * out.cols, [&](int64_t t) {
      const float* gate = row(gate_up, t);
      kernels_.gated(gate, gate + out.cols, activation, out.cols, row(out, t));
    });
  }

  void moe_route(const Tensor& router_logits, const MoeRouting& routing) override {
    moe_.route(router_logits, routing);
  }

  void moe_experts(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                   Activation activation, const Tensor& out) override {
    moe_.run(x, routing, experts, activation, out);
  }

  void gather_rows(const Tensor& x, const int32_t* rows, const Tensor& out) override {
    for (int64_t t = 0; t < out.rows; ++t) {
      std::memcpy(row(out, t), row(x, rows[t]), static_cast<size_t>(x.cols) * sizeof(float));
    }
  }

  void plan_sampling(std::span<const SampleRequest> samples, std::span<const LogprobRequest> logprobs) override {
    samples_.assign(samples.begin(), samples.end());
    logprobs_.assign(logprobs.begin(), logprobs.end());
  }

  void sample(const Tensor& logits, size_t first, size_t count) override {
    for_logits(logits, count, [&](TokenSampler& sampler, size_t i) {
      const SampleRequest& request = samples_[first + i];
      *request.token = sampler.sample(row(logits, request.row), logits.cols, request.params, request.row);
      if (request.device_token != nullptr) *request.device_token = *request.token;
    });
  }

  void logprobs(const Tensor& logits, size_t first, size_t count) override {
    for_logits(logits, count, [&](TokenSampler& sampler, size_t i) {
      LogprobRequest& request = logprobs_[first + i];
      if (request.target < 0) request.target = *samples_[static_cast<size_t>(-(request.target + 1))].token;
      sampler.logprobs(row(logits, request.row), logits.cols, request);
    });
  }

 private:
  static float* row(const Tensor& tensor, int64_t index) { return tensor.f32() + index * tensor.cols; }

  static void check_rows(const Weight& weight, int64_t first_row, int64_t row_count) {
    require(first_row >= 0 && row_count >= 0 && first_row + row_count <= weight.rows(), "rows ", first_row, " to ",
            first_row + row_count, " are not within the weight's ", weight.rows());
  }

  /// body(row) for each; on the threads when the rows together are large. `cost`: elements of one row.
  template <class Body>
  void for_rows(int64_t rows, int64_t cost, Body body) {
    if (pool_.size() == 1 || rows * cost <= kInlineElements) {
      for (int64_t t = 0; t < rows; ++t) body(t);
      return;
    }
    const int64_t chunk = std::max<int64_t>(1, kChunkElements / cost);
    pool_.parallel_for((rows + chunk - 1) / chunk, [&](int64_t i) {
      for (int64_t t = i * chunk; t < std::min(rows, (i + 1) * chunk); ++t) body(t);
    });
  }

  template <class Body>
  void for_logits(const Tensor& logits, size_t count, Body body) {
    const bool parallel = static_cast<int64_t>(count) * logits.cols > kInlineElements;
    for_each_in_lanes(pool_, parallel, static_cast<int64_t>(count), [&](int64_t lane, int64_t i) {
      body(samplers_[static_cast<size_t>(lane)], static_cast<size_t>(i));
    });
  }

  CpuIsa isa_;
  const CpuKernels& kernels_;
  ThreadPool& pool_;
  Linear linear_;
  PagedAttention attention_;
  MixtureOfExperts moe_;
  std::vector<TokenSampler> samplers_;  ///< one per lane
  std::vector<SampleRequest> samples_;  ///< planned
  std::vector<LogprobRequest> logprobs_;
  size_t file_cache_bytes_ = 0;  ///< of borrowed weights; written before available_bytes() is asked
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(CpuIsa isa, ThreadPool& pool) {
  return std::make_unique<CpuBackend>(isa, pool);
}

}  // namespace vitrine

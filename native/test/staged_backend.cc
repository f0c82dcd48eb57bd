// Copies in, calls, copies out. Speed does not matter here.
#include "staged_backend.h"

#include <algorithm>
#include <vector>

#include "op_test_support.h"

namespace vitrine::test {
namespace {

class HostBuffer final : public DeviceBuffer {
 public:
  explicit HostBuffer(size_t bytes) : words_(bytes / 8 + 1), bytes_(bytes) {}
  void* data() const override { return const_cast<uint64_t*>(words_.data()); }
  size_t bytes() const override { return bytes_; }

 private:
  std::vector<uint64_t> words_;
  size_t bytes_;
};

/// A copy of host memory on the device. Its size is rounded up to whole words.
class Copy {
 public:
  Copy(Backend& device, const void* host, size_t bytes) : device_(device), bytes_(bytes) {
    buffer_ = device.allocate((bytes + 3) / 4 * 4);
    if (bytes > 0 && host != nullptr) device.write(buffer_->data(), host, bytes);
  }
  void* data() const { return buffer_->data(); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data());
  }
  void back_to(void* host) const {
    std::vector<float> words((bytes_ + 3) / 4);
    device_.download({data(), DType::kFloat32, 1, static_cast<int64_t>(words.size())}, words.data());
    device_.synchronize();
    std::memcpy(host, words.data(), bytes_);
  }

 private:
  Backend& device_;
  size_t bytes_;
  std::unique_ptr<DeviceBuffer> buffer_;
};

class TensorCopy {
 public:
  TensorCopy(Backend& device, const Tensor& host, bool copy = true)
      : device_(device),
        host_(host),
        bytes_(encoded(device, host, copy)),
        copy_(device, bytes_.data(), bytes_.size()) {}
  Tensor on_device() const { return {copy_.data(), device_.activation_dtype(), host_.rows, host_.cols}; }
  void back() const {
    device_.download(on_device(), host_.f32());
    device_.synchronize();
  }

 private:
  static std::vector<char> encoded(Backend& device, const Tensor& host, bool copy) {
    const auto count = static_cast<size_t>(host.rows * host.cols);
    const DType dtype = device.activation_dtype();
    std::vector<char> bytes(count * dtype_size(dtype));
    if (!copy || count == 0) return bytes;
    const EncodedRows rows(std::vector<float>(host.f32(), host.f32() + count), dtype);
    std::memcpy(bytes.data(), rows.data(), bytes.size());
    return bytes;
  }

  Backend& device_;
  Tensor host_;
  std::vector<char> bytes_;
  Copy copy_;
};

/// The cache of one layer, there and back.
class CacheCopy {
 public:
  CacheCopy(Backend& device, const KvLayer& host)
      : host_(host), k_(device, host.k, bytes(host)), v_(device, host.v, bytes(host)) {}
  KvLayer on_device() const {
    KvLayer layer = host_;
    layer.k = k_.data();
    layer.v = v_.data();
    return layer;
  }
  void back() const {
    k_.back_to(host_.k);
    v_.back_to(host_.v);
  }

 private:
  static size_t bytes(const KvLayer& layer) {
    return static_cast<size_t>(layer.num_blocks * layer.block_size) *
           static_cast<size_t>(layer.num_kv_heads * layer.head_dim) * dtype_size(layer.dtype);
  }

  KvLayer host_;
  Copy k_, v_;
};

class StagedAttention final : public AttentionBackend {
 public:
  explicit StagedAttention(Backend& device) : device_(device) {}

  void plan(const AttentionShape& shape, const AttentionBatch& batch) override {
    shape_ = shape;
    batch_ = batch;
  }

  void run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) override {
    const auto requests = static_cast<size_t>(batch_.num_requests);
    const auto upload = [&](const int32_t* words, size_t count) { return device_.upload({words, count}); };
    AttentionBatch batch = batch_;
    batch.query_start = upload(batch_.query_start, requests + 1);
    batch.seq_lens = upload(batch_.seq_lens, requests);
    batch.block_start = upload(batch_.block_start, requests + 1);
    batch.blocks = upload(batch_.blocks, static_cast<size_t>(batch_.block_start[requests]));
    batch.host_query_start = batch_.query_start;
    batch.host_seq_lens = batch_.seq_lens;
    const CacheCopy cache_copy(device_, cache);
    const TensorCopy qkv_copy(device_, qkv);
    const TensorCopy out_copy(device_, out, false);
    device_.attention().plan(shape_, batch);
    device_.attention().run(cache_copy.on_device(), qkv_copy.on_device(), sliding_window, out_copy.on_device());
    out_copy.back();
    device_.synchronize();
  }

 private:
  Backend& device_;
  AttentionShape shape_;
  AttentionBatch batch_;
};

class StagedBackend final : public Backend {
 public:
  explicit StagedBackend(Backend& device) : device_(device), attention_(device) {}

  std::string_view name() const override { return device_.name(); }
  DType activation_dtype() const override { return device_.activation_dtype(); }

  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override { return std::make_unique<HostBuffer>(bytes); }
  size_t available_bytes() const override { return device_.available_bytes(); }
  void reserve(const StepLimits& limits) override { device_.reserve(limits); }
  size_t scratch_bytes() const override { return device_.scratch_bytes(); }
  const int32_t* upload(std::span<const int32_t> words) override { return words.data(); }
  void download(const Tensor& from, float* to) override {
    const TensorCopy copy(device_, from);
    device_.download(copy.on_device(), to);
    device_.synchronize();
  }
  void synchronize() override { device_.synchronize(); }

  std::unique_ptr<Weight> create_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype) override {
    return device_.create_weight(kind, rows, cols, dtype);
  }
  void load_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source, DType stored) override {
    device_.load_rows(weight, first_row, row_count, source, stored);
  }
  void load_quantized_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source,
                           const float* scales) override {
    device_.load_quantized_rows(weight, first_row, row_count, source, scales);
  }

  void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) override {
    int32_t slots = 0;
    for (int32_t i = 0; i < count; ++i) slots = std::max(slots, -ids[i]);
    const auto size = static_cast<size_t>(count);
    const Copy result(device_, nullptr, size * sizeof(int32_t));
    device_.resolve_token_ids(device_.upload({ids, size}), device_.upload({last_sampled, static_cast<size_t>(slots)}),
                              count, result.as<int32_t>());
    result.back_to(out);
    device_.synchronize();
  }

  void embed(const Weight& table, const int32_t* ids, const Tensor& out) override {
    const TensorCopy result(device_, out, false);
    device_.embed(table, upload_rows(ids, out), result.on_device());
    finish({&result});
  }

  void rms_norm(const Tensor& x, const Weight& gain, float eps, const Tensor& out) override {
    const TensorCopy in(device_, x);
    const TensorCopy result(device_, out, false);
    device_.rms_norm(in.on_device(), gain, eps, result.on_device());
    finish({&result});
  }

  void add_rms_norm(const Tensor& residual, const Tensor& delta, const Weight& gain, float eps,
                    const Tensor& out) override {
    const TensorCopy sum(device_, residual);
    const TensorCopy added(device_, delta);
    const TensorCopy result(device_, out, false);
    device_.add_rms_norm(sum.on_device(), added.on_device(), gain, eps, result.on_device());
    finish({&sum, &result});
  }

  void linear(const Weight& weight, const Weight* bias, const Tensor& x, const Tensor& out) override {
    const TensorCopy in(device_, x);
    const TensorCopy result(device_, out, false);
    device_.linear(weight, bias, in.on_device(), result.on_device());
    finish({&result});
  }

  void rope_and_store(const Tensor& qkv, int32_t num_heads, const RopeTable& rope, const Weight* q_norm,
                      const Weight* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                      const KvLayer& cache) override {
    const TensorCopy heads(device_, qkv);
    const Copy angles(device_, rope.cos_sin, static_cast<size_t>(rope.max_positions * rope.rotary_dim) * sizeof(float));
    const CacheCopy cache_copy(device_, cache);
    device_.rope_and_store(heads.on_device(), num_heads, {angles.as<float>(), rope.max_positions, rope.rotary_dim},
                           q_norm, k_norm, eps, upload_rows(positions, qkv), upload_rows(kv_slots, qkv),
                           cache_copy.on_device());
    cache_copy.back();
    finish({&heads});
  }

  AttentionBackend& attention() override { return attention_; }

  void gated_activation(const Tensor& gate_up, Activation activation, const Tensor& out) override {
    const TensorCopy in(device_, gate_up);
    const TensorCopy result(device_, out, false);
    device_.gated_activation(in.on_device(), activation, result.on_device());
    finish({&result});
  }

  void moe_route(const Tensor& router_logits, const MoeRouting& routing) override {
    const TensorCopy logits(device_, router_logits);
    const RoutingCopy copy(device_, routing, router_logits.rows, false);
    device_.moe_route(logits.on_device(), copy.on_device());
    copy.ids.back_to(routing.expert_ids);
    copy.weights.back_to(routing.expert_weights);
    device_.synchronize();
  }

  void moe_experts(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                   Activation activation, const Tensor& out) override {
    const TensorCopy in(device_, x);
    const TensorCopy result(device_, out, false);
    const RoutingCopy copy(device_, routing, x.rows, true);
    device_.moe_experts(in.on_device(), copy.on_device(), experts, activation, result.on_device());
    finish({&result});
  }

  void gather_rows(const Tensor& x, const int32_t* rows, const Tensor& out) override {
    const TensorCopy in(device_, x);
    const TensorCopy result(device_, out, false);
    device_.gather_rows(in.on_device(), upload_rows(rows, out), result.on_device());
    finish({&result});
  }

  void plan_sampling(std::span<const SampleRequest> samples, std::span<const LogprobRequest> logprobs) override {
    samples_.assign(samples.begin(), samples.end());
    logprobs_.assign(logprobs.begin(), logprobs.end());
  }

  void sample(const Tensor& logits, size_t first, size_t count) override {
    const TensorCopy in(device_, logits);
    device_.plan_sampling(samples_, {});
    device_.sample(in.on_device(), first, count);
    device_.synchronize();
  }

  void logprobs(const Tensor& logits, size_t first, size_t count) override {
    const TensorCopy in(device_, logits);
    device_.plan_sampling({}, logprobs_);
    device_.logprobs(in.on_device(), first, count);
    device_.synchronize();
  }

 private:
  struct RoutingCopy {
    RoutingCopy(Backend& device, const MoeRouting& host, int64_t tokens, bool copy)
        : routing(host),
          ids(device, copy ? host.expert_ids : nullptr, static_cast<size_t>(tokens * host.top_k) * sizeof(int32_t)),
          weights(device, copy ? host.expert_weights : nullptr,
                  static_cast<size_t>(tokens * host.top_k) * sizeof(float)) {}
    MoeRouting on_device() const {
      return {ids.as<int32_t>(), weights.as<float>(), routing.num_experts, routing.top_k, routing.normalize};
    }
    MoeRouting routing;
    Copy ids, weights;
  };

  const int32_t* upload_rows(const int32_t* words, const Tensor& tensor) {
    return device_.upload({words, static_cast<size_t>(tensor.rows)});
  }

  void finish(std::initializer_list<const TensorCopy*> results) {
    for (const TensorCopy* result : results) result->back();
    device_.synchronize();
  }

  Backend& device_;
  StagedAttention attention_;
  std::vector<SampleRequest> samples_;  ///< planned; planned again for each call, whose copies wait for the device
  std::vector<LogprobRequest> logprobs_;
};

}  // namespace

std::unique_ptr<Backend> make_staged_backend(Backend& device) { return std::make_unique<StagedBackend>(device); }

}  // namespace vitrine::test

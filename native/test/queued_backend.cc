#include "queued_backend.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <utility>

#include "core/check.h"

namespace vitrine::test {
namespace {

using Op = std::function<void()>;

constexpr size_t kArenaWords = size_t{1} << 16;
constexpr int32_t kPoison = INT32_MIN / 3;  // as an index of anything it is far outside

/// Where ops go: the queue of the step, or the capture that goes on.
class OpQueue {
 public:
  explicit OpQueue(QueueLog& log) : log_(log), arena_(kArenaWords, kPoison) {}

  void add(Op op) {
    if (capture_ != nullptr) {
      capture_->push_back(std::move(op));
    } else {
      copy_uploads();
      ops_.push_back(std::move(op));
    }
  }

  const int32_t* upload(std::span<const int32_t> words) {
    require(used_ + words.size() <= arena_.size(), "the test's arena is too small");
    int32_t* const place = arena_.data() + used_;
    used_ += words.size();
    upload_to(place, words);
    return place;
  }

  void upload_to(int32_t* to, std::span<const int32_t> words) {
    require(capture_ == nullptr, "an upload within a capture");
    uploads_.push_back([to, copy = std::vector(words.begin(), words.end())] { std::ranges::copy(copy, to); });
  }

  void copy_uploads() {
    if (uploads_.empty()) return;
    log_.add("copy");
    std::ranges::move(uploads_, std::back_inserter(ops_));
    uploads_.clear();
  }

  /// What was uploaded is of no more use to the ops that come.
  void forget_uploads() {
    uploads_.clear();
    used_ = 0;
    ops_.push_back([this] { std::ranges::fill(arena_, kPoison); });
  }

  std::vector<Op> take() {
    copy_uploads();
    return std::exchange(ops_, {});
  }

  void capture(std::vector<Op>* to) { capture_ = to; }
  const std::vector<Op>* captured() const { return capture_; }

 private:
  QueueLog& log_;
  std::vector<Op> ops_;
  std::vector<Op> uploads_;
  std::vector<Op>* capture_ = nullptr;
  std::vector<int32_t> arena_;
  size_t used_ = 0;
};

class QueuedGraph final : public OpGraph {
 public:
  QueuedGraph(OpQueue& queue, QueueLog& log, std::vector<Op> ops) : queue_(queue), log_(log), ops_(std::move(ops)) {}

  void replay() override {
    log_.add("replay");
    for (const Op& op : ops_) queue_.add(op);
  }
  int32_t node_count() const override { return static_cast<int32_t>(ops_.size()); }

 private:
  OpQueue& queue_;
  QueueLog& log_;
  const std::vector<Op> ops_;
};

class QueuedAttention final : public AttentionBackend {
 public:
  QueuedAttention(OpQueue& queue, AttentionBackend& device) : queue_(queue), device_(device) {}

  /// Like the words of a plan on a GPU, it takes effect when its turn comes.
  void plan(const AttentionShape& shape, const AttentionBatch& batch) override {
    const auto copied = [](const int32_t* from, int32_t count) { return std::vector<int32_t>(from, from + count); };
    queue_.add([this, shape, batch, query_start = copied(batch.host_query_start, batch.num_requests + 1),
                seq_lens = copied(batch.host_seq_lens, batch.num_requests)] {
      query_start_ = query_start;
      seq_lens_ = seq_lens;
      AttentionBatch planned = batch;
      planned.host_query_start = query_start_.data();
      planned.host_seq_lens = seq_lens_.data();
      device_.plan(shape, planned);
    });
  }

  void run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) override {
    queue_.add([this, cache, qkv, sliding_window, out] { device_.run(cache, qkv, sliding_window, out); });
  }

 private:
  OpQueue& queue_;
  AttentionBackend& device_;
  std::vector<int32_t> query_start_;
  std::vector<int32_t> seq_lens_;
};

/// Can be asked what it does, and has nothing to tell.
class SilentActivities final : public DeviceActivities {
 public:
  void start() override {}
  void stop() override {}
  void flush() override {}
  uint64_t take(std::vector<DeviceActivity>&) override { return 0; }
  int32_t multiprocessors() const override { return 1; }
};

class QueuedBackend final : public Backend {
 public:
  QueuedBackend(std::unique_ptr<Backend> device, std::shared_ptr<QueueLog> log)
      : device_(std::move(device)), log_(std::move(log)), queue_(*log_), attention_(queue_, device_->attention()) {}

  std::string_view name() const override { return "queued"; }
  DType activation_dtype() const override { return device_->activation_dtype(); }
  int64_t mlp_slice_rows() const override { return INT64_MAX; }
  DeviceActivities* activities() override { return &activities_; }
  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override { return device_->allocate(bytes); }
  size_t available_bytes() const override { return device_->available_bytes(); }

  const int32_t* upload(std::span<const int32_t> words) override { return queue_.upload(words); }
  void upload_to(int32_t* device, std::span<const int32_t> words) override { queue_.upload_to(device, words); }
  void write(void* device, const void* host, size_t bytes) override {
    const auto* from = static_cast<const char*>(host);
    queue_.add(
        [this, device, copy = std::vector(from, from + bytes)] { device_->write(device, copy.data(), copy.size()); });
  }
  void download(const Tensor& from, float* to) override {
    queue_.add([this, from, to] {
      std::vector<float> values(static_cast<size_t>(from.rows * from.cols));
      device_->download(from, values.data());
      for_host([to, values] { std::ranges::copy(values, to); });
    });
  }
  void synchronize() override {
    while (!unfinished_.empty()) finish_step();
    run(queue_.take());
    queue_.forget_uploads();
  }

  bool queues_steps() const override { return true; }
  void begin_step(StepMemory) override {
    queue_.forget_uploads();
    log_->add("launch " + std::to_string(++steps_));
  }
  void end_step() override {
    log_->add("read");
    unfinished_.push_back(queue_.take());
  }
  bool step_done() const override { return !log_->busy; }
  void finish_step() override {
    require(!unfinished_.empty(), "no step is unfinished");
    log_->add("finish " + std::to_string(++finished_));
    std::vector<Op> ops = std::move(unfinished_.front());
    unfinished_.pop_front();
    run(ops);
  }
  std::unique_ptr<OpGraph> capture(const std::function<void()>& ops) override {
    std::vector<Op> captured;
    queue_.capture(&captured);
    try {
      ops();
    } catch (...) {
      queue_.capture(nullptr);
      throw;
    }
    queue_.capture(nullptr);
    log_->add("capture");
    return std::make_unique<QueuedGraph>(queue_, *log_, std::move(captured));
  }
  int32_t captured_nodes() const override { return static_cast<int32_t>(queue_.captured()->size()); }

  std::unique_ptr<Weight> create_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype) override {
    return device_->create_weight(kind, rows, cols, dtype);
  }
  void load_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source, DType stored) override {
    device_->load_rows(weight, first_row, row_count, source, stored);
  }
  void load_quantized_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source,
                           const float* scales) override {
    device_->load_quantized_rows(weight, first_row, row_count, source, scales);
  }

  void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) override {
    queue_.add([=, this] { device_->resolve_token_ids(ids, last_sampled, count, out); });
  }
  void embed(const Weight& table, const int32_t* ids, const Tensor& out) override {
    queue_.add([=, this, &table] { device_->embed(table, ids, out); });
  }
  void rms_norm(const Tensor& x, const Weight& gain, float eps, const Tensor& out) override {
    queue_.add([=, this, &gain] { device_->rms_norm(x, gain, eps, out); });
  }
  void add_rms_norm(const Tensor& residual, const Tensor& delta, const Weight& gain, float eps,
                    const Tensor& out) override {
    queue_.add([=, this, &gain] { device_->add_rms_norm(residual, delta, gain, eps, out); });
  }
  void linear(const Weight& weight, const Weight* bias, const Tensor& x, const Tensor& out) override {
    queue_.add([=, this, &weight] { device_->linear(weight, bias, x, out); });
  }
  void rope_and_store(const Tensor& qkv, int32_t num_heads, const RopeTable& rope, const Weight* q_norm,
                      const Weight* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                      const KvLayer& cache) override {
    queue_.add(
        [=, this] { device_->rope_and_store(qkv, num_heads, rope, q_norm, k_norm, eps, positions, kv_slots, cache); });
  }
  AttentionBackend& attention() override { return attention_; }
  void gated_activation(const Tensor& gate_up, Activation activation, const Tensor& out) override {
    queue_.add([=, this] { device_->gated_activation(gate_up, activation, out); });
  }
  void moe_route(const Tensor& router_logits, const MoeRouting& routing) override {
    queue_.add([=, this] { device_->moe_route(router_logits, routing); });
  }
  void moe_experts(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                   Activation activation, const Tensor& out) override {
    queue_.add([=, this] { device_->moe_experts(x, routing, experts, activation, out); });
  }
  void gather_rows(const Tensor& x, const int32_t* rows, const Tensor& out) override {
    queue_.add([=, this] { device_->gather_rows(x, rows, out); });
  }

  void plan_sampling(std::span<const SampleRequest> samples, std::span<const LogprobRequest> logprobs) override {
    plan_ = std::make_shared<SamplingPlan>(samples, logprobs);
    queue_.upload(std::vector<int32_t>(samples.size() + logprobs.size()));  // for what a GPU would get
  }
  void sample(const Tensor& logits, size_t first, size_t count) override {
    queue_.add([this, plan = plan_, logits, first, count] {
      plan->on(*device_).sample(logits, first, count);
      for_host([plan, first, count] {
        for (size_t i = first; i < first + count; ++i) *plan->host_tokens[i] = plan->tokens[i];
      });
    });
  }
  void logprobs(const Tensor& logits, size_t first, size_t count) override {
    queue_.add([this, plan = plan_, logits, first, count] { plan->on(*device_).logprobs(logits, first, count); });
  }

 private:
  /// Everything that a plan points to on the host, kept as it was.
  struct SamplingPlan {
    SamplingPlan(std::span<const SampleRequest> from, std::span<const LogprobRequest> logprob_requests)
        : samples(from.begin(), from.end()),
          logprobs(logprob_requests.begin(), logprob_requests.end()),
          tokens(from.size(), kPoison) {
      for (size_t i = 0; i < samples.size(); ++i) {
        SampleParams& params = samples[i].params;
        params.history = kept(params.history, words);
        params.bias_ids = kept(params.bias_ids, words);
        params.bias_values = kept(params.bias_values, floats);
        host_tokens.push_back(std::exchange(samples[i].token, &tokens[i]));
      }
      for (LogprobRequest& request : logprobs) request.watch_ids = kept(request.watch_ids, words);
    }

    template <class T>
    static std::span<const T> kept(std::span<const T> values, std::deque<std::vector<T>>& lists) {
      return lists.emplace_back(values.begin(), values.end());
    }

    Backend& on(Backend& device) const {
      device.plan_sampling(samples, logprobs);
      return device;
    }

    std::vector<SampleRequest> samples;
    std::vector<LogprobRequest> logprobs;
    std::vector<int32_t> tokens;
    std::vector<int32_t*> host_tokens;
    std::deque<std::vector<int32_t>> words;
    std::deque<std::vector<float>> floats;
  };

  /// What an op has for the host comes at the end, as by one copy.
  void for_host(Op op) { for_host_.push_back(std::move(op)); }

  void run(const std::vector<Op>& ops) {
    for_host_.clear();
    for (const Op& op : ops) op();
    for (const Op& op : std::exchange(for_host_, {})) op();
  }

  std::unique_ptr<Backend> device_;
  std::shared_ptr<QueueLog> log_;
  OpQueue queue_;
  QueuedAttention attention_;
  SilentActivities activities_;
  std::shared_ptr<SamplingPlan> plan_;
  std::deque<std::vector<Op>> unfinished_;  ///< ops of each step, oldest first
  std::vector<Op> for_host_;
  int steps_ = 0;
  int finished_ = 0;
};

}  // namespace

size_t QueueLog::count(const std::string& event) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::ranges::count(events_, event));
}

std::unique_ptr<Backend> make_queued_backend(std::unique_ptr<Backend> device, std::shared_ptr<QueueLog> log) {
  return std::make_unique<QueuedBackend>(std::move(device), std::move(log));
}

}  // namespace vitrine::test

// One call, one call.
#include "backend/cuda_adapter/cuda_backend.h"

#include <array>
#include <vector>

#include "core/check.h"

namespace vitrine {
namespace {

static_assert(static_cast<int>(DType::kFloat32) == VITRINE_FLOAT32 &&
              static_cast<int>(DType::kFloat16) == VITRINE_FLOAT16 &&
              static_cast<int>(DType::kBFloat16) == VITRINE_BFLOAT16 &&
              static_cast<int>(DType::kFloat8E4M3) == VITRINE_FLOAT8_E4M3);
static_assert(static_cast<int>(WeightKind::kMatrix) == VITRINE_MATRIX &&
              static_cast<int>(WeightKind::kVector) == VITRINE_VECTOR);
static_assert(static_cast<int>(Activation::kSilu) == VITRINE_SILU &&
              static_cast<int>(Activation::kGelu) == VITRINE_GELU &&
              static_cast<int>(Activation::kGeluTanh) == VITRINE_GELU_TANH);

VitrineTensor c(const Tensor& tensor) {
  return {tensor.data, tensor.rows, tensor.cols, static_cast<int32_t>(tensor.dtype)};
}

VitrineKvLayer c(const KvLayer& layer) {
  return {layer.k,
          layer.v,
          layer.num_blocks,
          layer.block_size,
          layer.num_kv_heads,
          layer.head_dim,
          static_cast<int32_t>(layer.dtype),
          layer.k_scale,
          layer.v_scale};
}

VitrineMoeRouting c(const MoeRouting& routing) {
  return {routing.expert_ids, routing.expert_weights, routing.num_experts, routing.top_k, routing.normalize ? 1 : 0};
}

VitrineAttentionShape c(const AttentionShape& shape) {
  return {shape.num_heads,  shape.num_kv_heads, shape.head_dim,
          shape.block_size, shape.scale,        static_cast<int32_t>(shape.cache_dtype)};
}

static_assert(static_cast<int>(ActivityKind::kKernel) == VITRINE_KERNEL &&
              static_cast<int>(ActivityKind::kCopy) == VITRINE_COPY &&
              static_cast<int>(ActivityKind::kSet) == VITRINE_SET &&
              static_cast<int>(ActivityKind::kRuntimeCall) == VITRINE_RUNTIME_CALL &&
              static_cast<int>(ActivityKind::kDriverCall) == VITRINE_DRIVER_CALL &&
              static_cast<int>(ActivityKind::kWait) == VITRINE_WAIT);

DeviceActivity from_c(const VitrineCudaActivity& activity) {
  return {.kind = static_cast<ActivityKind>(activity.kind),
          .name = activity.name,
          .begin_ns = activity.begin_ns,
          .end_ns = activity.end_ns,
          .correlation = activity.correlation,
          .thread = activity.thread,
          .device = activity.device,
          .context = activity.context,
          .stream = activity.stream,
          .graph = activity.graph,
          .graph_node = activity.graph_node,
          .bytes = activity.bytes,
          .grid = {activity.grid[0], activity.grid[1], activity.grid[2]},
          .block = {activity.block[0], activity.block[1], activity.block[2]},
          .registers = activity.registers,
          .shared_memory = activity.shared_memory};
}

/// The library's context, and calls with it.
class Context {
 public:
  Context(const CudaLibrary& library, int device, DType dtype) : library_(library) {
    library.check(library.api().open(device, static_cast<int>(dtype), &context_));
  }
  ~Context() { library_.api().close(context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const VitrineCudaApi& api() const { return library_.api(); }
  VitrineCudaContext* get() const { return context_; }

  template <class... Parameters, class... Arguments>
  void call(int (*VitrineCudaApi::*function)(VitrineCudaContext*, Parameters...), Arguments... arguments) const {
    library_.check((api().*function)(context_, arguments...));
  }

 private:
  const CudaLibrary library_;
  VitrineCudaContext* context_ = nullptr;
};

class CudaBuffer final : public DeviceBuffer {
 public:
  CudaBuffer(const Context& context, size_t bytes) : context_(context), bytes_(bytes) {
    context.call(&VitrineCudaApi::allocate, bytes, &data_);
  }
  ~CudaBuffer() override { context_.api().release(context_.get(), data_); }

  void* data() const override { return data_; }
  size_t bytes() const override { return bytes_; }

 private:
  const Context& context_;
  void* data_ = nullptr;
  size_t bytes_;
};

class CudaWeight final : public Weight {
 public:
  CudaWeight(const Context& context, WeightKind kind, int64_t rows, int64_t cols, DType dtype)
      : context_(context), rows_(rows), cols_(cols) {
    context.call(&VitrineCudaApi::create_weight, static_cast<int>(kind), rows, cols, static_cast<int>(dtype), &weight_);
  }
  ~CudaWeight() override { context_.api().destroy_weight(context_.get(), weight_); }

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return context_.api().weight_bytes(context_.get(), weight_); }
  VitrineCudaWeight* get() const { return weight_; }

 private:
  const Context& context_;
  int64_t rows_;
  int64_t cols_;
  VitrineCudaWeight* weight_ = nullptr;
};

VitrineCudaWeight* handle(const Weight& weight) { return static_cast<const CudaWeight&>(weight).get(); }
VitrineCudaWeight* handle(const Weight* weight) { return weight == nullptr ? nullptr : handle(*weight); }

void put(std::span<const ExpertWeights> experts, std::vector<VitrineExpert>& to) {
  to.clear();
  for (const ExpertWeights& expert : experts) to.push_back({handle(expert.gate_up), handle(expert.down)});
}

/// Ends the capture that is going on and keeps what it has.
class CudaGraph final : public OpGraph {
 public:
  explicit CudaGraph(const Context& context) : context_(context) {
    context.call(&VitrineCudaApi::end_capture, &graph_);
  }
  ~CudaGraph() override { context_.api().destroy_graph(context_.get(), graph_); }

  void replay() override { context_.call(&VitrineCudaApi::replay, graph_); }
  int32_t node_count() const override { return context_.api().graph_nodes(graph_); }

 private:
  const Context& context_;
  VitrineCudaGraph* graph_ = nullptr;
};

class CudaAttention final : public AttentionBackend {
 public:
  explicit CudaAttention(const Context& context) : context_(context) {}

  void plan(const AttentionShape& shape, const AttentionBatch& batch) override {
    require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0, shape.num_heads,
            " query heads are not a multiple of ", shape.num_kv_heads);
    const VitrineAttentionShape c_shape = c(shape);
    const VitrineAttentionBatch c_batch{batch.num_requests,     batch.num_tokens,   batch.query_start,
                                        batch.seq_lens,         batch.block_start,  batch.blocks,
                                        batch.host_query_start, batch.host_seq_lens};
    context_.call(&VitrineCudaApi::plan_attention, &c_shape, &c_batch);
  }

  void run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) override {
    const VitrineKvLayer c_cache = c(cache);
    const VitrineTensor c_qkv = c(qkv);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::run_attention, &c_cache, &c_qkv, sliding_window, &c_out);
  }

 private:
  const Context& context_;
};

class CudaActivities final : public DeviceActivities {
 public:
  CudaActivities(const CudaLibrary& library, int device) : library_(library) {
    VitrineCudaDevice description;
    library.check(library.api().describe_device(device, &description));
    multiprocessors_ = description.multiprocessors;
  }

  void start() override { library_.check(library_.api().start_activities()); }
  void stop() override { library_.api().stop_activities(); }
  void flush() override { library_.check(library_.api().flush_activities()); }
  int32_t multiprocessors() const override { return multiprocessors_; }

  uint64_t take(std::vector<DeviceActivity>& activities) override {
    std::array<VitrineCudaActivity, 256> part;
    uint64_t dropped = 0;
    size_t count = part.size();
    while (count == part.size()) {
      count = library_.api().take_activities(part.data(), part.size(), &dropped);
      for (size_t i = 0; i < count; ++i) activities.push_back(from_c(part[i]));
    }
    return dropped;
  }

 private:
  const CudaLibrary library_;
  int32_t multiprocessors_ = 0;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaLibrary& library, int device, DType dtype)
      : context_(library, device, dtype), dtype_(dtype), attention_(context_), activities_(library, device) {}

  std::string_view name() const override { return "cuda"; }
  DType activation_dtype() const override { return dtype_; }
  int64_t mlp_slice_rows() const override { return INT64_MAX; }
  DeviceActivities* activities() override { return &activities_; }
  const Context& context() const { return context_; }

  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override {
    return std::make_unique<CudaBuffer>(context_, bytes);
  }
  size_t available_bytes() const override {
    size_t free = 0;
    size_t total = 0;
    context_.call(&VitrineCudaApi::memory_info, &free, &total);
    return free;
  }
  void reserve(const StepLimits& limits) override {
    std::vector<std::vector<VitrineExpert>> experts;
    std::vector<VitrineMoeLayer> moe_layers;
    for (const MoeLayer& layer : limits.moe_layers) {
      put(layer.experts, experts.emplace_back());
      moe_layers.push_back({experts.back().data(), static_cast<int32_t>(layer.experts.size()), layer.top_k});
    }
    const VitrineStepLimits c_limits{limits.max_requests,
                                     limits.max_tokens,
                                     limits.max_input_words,
                                     limits.max_result_words,
                                     limits.vocab_size,
                                     c(limits.attention),
                                     limits.windows.data(),
                                     moe_layers.data(),
                                     static_cast<int32_t>(limits.windows.size()),
                                     static_cast<int32_t>(moe_layers.size())};
    context_.call(&VitrineCudaApi::reserve, &c_limits);
  }
  size_t scratch_bytes() const override { return context_.api().scratch_bytes(context_.get()); }
  const int32_t* upload(std::span<const int32_t> words) override {
    const int32_t* device = nullptr;
    context_.call(&VitrineCudaApi::upload, words.data(), words.size(), &device);
    return device;
  }
  void upload_to(int32_t* device, std::span<const int32_t> words) override {
    context_.call(&VitrineCudaApi::upload_to, device, words.data(), words.size());
  }
  void write(void* device, const void* host, size_t bytes) override {
    context_.call(&VitrineCudaApi::write, device, host, bytes);
  }
  void download(const Tensor& from, float* to) override {
    const VitrineTensor c_from = c(from);
    context_.call(&VitrineCudaApi::download, &c_from, to);
  }
  void synchronize() override { context_.call(&VitrineCudaApi::synchronize); }

  bool queues_steps() const override { return true; }
  void begin_step(StepMemory memory) override {
    context_.call(&VitrineCudaApi::begin_step, memory == StepMemory::kFixed ? 1 : 0);
  }
  void end_step() override { context_.call(&VitrineCudaApi::end_step); }
  bool step_done() const override {
    int done = 0;
    context_.call(&VitrineCudaApi::step_done, &done);
    return done != 0;
  }
  void finish_step() override { context_.call(&VitrineCudaApi::finish_step); }
  std::unique_ptr<OpGraph> capture(const std::function<void()>& ops) override {
    context_.call(&VitrineCudaApi::begin_capture);
    try {
      ops();
    } catch (...) {
      context_.api().abandon_capture(context_.get());
      throw;
    }
    return std::make_unique<CudaGraph>(context_);
  }
  int32_t captured_nodes() const override {
    int32_t count = 0;
    context_.call(&VitrineCudaApi::captured_nodes, &count);
    return count;
  }

  std::unique_ptr<Weight> create_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype) override {
    return std::make_unique<CudaWeight>(context_, kind, rows, cols, dtype);
  }
  void load_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source, DType stored) override {
    context_.call(&VitrineCudaApi::load_rows, handle(weight), first_row, row_count, source, static_cast<int>(stored));
  }
  void load_quantized_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source,
                           const float* scales) override {
    context_.call(&VitrineCudaApi::load_quantized_rows, handle(weight), first_row, row_count, source, scales);
  }

  void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) override {
    context_.call(&VitrineCudaApi::resolve_token_ids, ids, last_sampled, count, out);
  }
  void embed(const Weight& table, const int32_t* ids, const Tensor& out) override {
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::embed, handle(table), ids, &c_out);
  }
  void rms_norm(const Tensor& x, const Weight& gain, float eps, const Tensor& out) override {
    const VitrineTensor c_x = c(x);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::rms_norm, &c_x, handle(gain), eps, &c_out);
  }
  void add_rms_norm(const Tensor& residual, const Tensor& delta, const Weight& gain, float eps,
                    const Tensor& out) override {
    const VitrineTensor c_residual = c(residual);
    const VitrineTensor c_delta = c(delta);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::add_rms_norm, &c_residual, &c_delta, handle(gain), eps, &c_out);
  }
  void linear(const Weight& weight, const Weight* bias, const Tensor& x, const Tensor& out) override {
    const VitrineTensor c_x = c(x);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::linear, handle(weight), handle(bias), &c_x, &c_out);
  }
  void rope_and_store(const Tensor& qkv, int32_t num_heads, const RopeTable& rope, const Weight* q_norm,
                      const Weight* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                      const KvLayer& cache) override {
    const VitrineTensor c_qkv = c(qkv);
    const VitrineRope c_rope{rope.cos_sin, rope.max_positions, rope.rotary_dim};
    const VitrineKvLayer c_cache = c(cache);
    context_.call(&VitrineCudaApi::rope_and_store, &c_qkv, num_heads, &c_rope, handle(q_norm), handle(k_norm), eps,
                  positions, kv_slots, &c_cache);
  }
  AttentionBackend& attention() override { return attention_; }
  void gated_activation(const Tensor& gate_up, Activation activation, const Tensor& out) override {
    const VitrineTensor c_gate_up = c(gate_up);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::gated_activation, &c_gate_up, static_cast<int>(activation), &c_out);
  }
  void moe_route(const Tensor& router_logits, const MoeRouting& routing) override {
    const VitrineTensor c_logits = c(router_logits);
    const VitrineMoeRouting c_routing = c(routing);
    context_.call(&VitrineCudaApi::moe_route, &c_logits, &c_routing);
  }
  void moe_experts(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                   Activation activation, const Tensor& out) override {
    put(experts, experts_);
    const VitrineTensor c_x = c(x);
    const VitrineMoeRouting c_routing = c(routing);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::moe_experts, &c_x, &c_routing, experts_.data(), static_cast<int>(activation),
                  &c_out);
  }
  void gather_rows(const Tensor& x, const int32_t* rows, const Tensor& out) override {
    const VitrineTensor c_x = c(x);
    const VitrineTensor c_out = c(out);
    context_.call(&VitrineCudaApi::gather_rows, &c_x, rows, &c_out);
  }

  void plan_sampling(std::span<const SampleRequest> samples, std::span<const LogprobRequest> logprobs) override {
    samples_.clear();
    for (const SampleRequest& from : samples) {
      const SampleParams& params = from.params;
      VitrineSampleRequest to{};
      to.row = from.row;
      to.temperature = params.temperature;
      to.top_k = params.top_k;
      to.top_p = params.top_p;
      to.min_p = params.min_p;
      to.frequency_penalty = params.frequency_penalty;
      to.presence_penalty = params.presence_penalty;
      to.repetition_penalty = params.repetition_penalty;
      to.position = params.position;
      to.seed = params.seed;
      to.history = params.history.data();
      to.bias_ids = params.bias_ids.data();
      to.bias_values = params.bias_values.data();
      to.history_count = static_cast<int32_t>(params.history.size());
      to.bias_count = static_cast<int32_t>(params.bias_ids.size());
      to.token = from.token;
      to.device_token = from.device_token;
      samples_.push_back(to);
    }
    logprobs_.clear();
    for (const LogprobRequest& from : logprobs) {
      logprobs_.push_back({from.row, from.target, from.top_count, static_cast<int32_t>(from.watch_ids.size()),
                           from.watch_ids.data(), from.target_logprob, from.top_ids, from.top_logprobs,
                           from.watch_logprobs});
    }
    context_.call(&VitrineCudaApi::plan_sampling, samples_.size(), samples_.data(), logprobs_.size(), logprobs_.data());
  }
  void sample(const Tensor& logits, size_t first, size_t count) override {
    const VitrineTensor c_logits = c(logits);
    context_.call(&VitrineCudaApi::sample, &c_logits, first, count);
  }
  void logprobs(const Tensor& logits, size_t first, size_t count) override {
    const VitrineTensor c_logits = c(logits);
    context_.call(&VitrineCudaApi::logprobs, &c_logits, first, count);
  }

 private:
  Context context_;
  DType dtype_;
  CudaAttention attention_;
  CudaActivities activities_;
  // Reused from call to call.
  std::vector<VitrineExpert> experts_;
  std::vector<VitrineSampleRequest> samples_;
  std::vector<VitrineLogprobRequest> logprobs_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const CudaLibrary& library, int device, DType dtype) {
  return std::make_unique<CudaBackend>(library, device, dtype);
}

CudaLimits measure_cuda_limits(Backend& backend, double seconds) {
  VitrineCudaLimits limits{};
  static_cast<CudaBackend&>(backend).context().call(&VitrineCudaApi::measure_limits, seconds, &limits);
  return {limits.copy_bytes_per_second, limits.matmul_flops_per_second};
}

std::string cuda_matmul_library(Backend& backend) {
  const Context& context = static_cast<CudaBackend&>(backend).context();
  return context.api().matmul_library(context.get());
}

}  // namespace vitrine

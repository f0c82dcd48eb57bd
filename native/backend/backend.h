// The seam between the decoder loop and a device: memory, weights and the ops of a decoder-only transformer.
// Called by the engine thread only, but for what says otherwise. Ops are queued in order (a CUDA stream) or done on
// return (CPU); what they give the host is there when their step is finished, or after synchronize(). Activations have
// the backend's own dtype (float32 on the CPU); sums are float32.
//
// Batch invariance (CPU): each output element is summed in an order that depends only on its own row's inputs and the
// weight's shape: never on how many rows the batch has, how they are split over threads, or where a chunk ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device_activity.h"
#include "core/dtype.h"

namespace vitrine {

/// Row-major view of device memory; rows are contiguous and adjacent.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;

  float* f32() const { return static_cast<float*>(data); }
  Tensor first_rows(int64_t count) const { return {data, dtype, count, cols}; }
  Tensor rows_from(int64_t first, int64_t count) const {
    return {static_cast<char*>(data) + first * cols * static_cast<int64_t>(dtype_size(dtype)), dtype, count, cols};
  }
};

/// A parameter in the backend's own layout (packed panels on the CPU). Owned by Weights.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  virtual size_t bytes() const = 0;
  /// Its bytes() as the backend laid them out, for borrow_weight(); null where weights are not in host memory.
  virtual const void* packed() const { return nullptr; }
};

enum class WeightKind : uint8_t {
  kMatrix,  ///< [rows, cols], used by linear() and embed(); held in the model dtype, or, for linear()
            ///< alone, not experts, in float8_e4m3fn with a float32 scale for each row
  kVector,  ///< norm gains and biases, [n, 1]; held in float32
};

/// Device memory, zeroed; freed on destruction.
class DeviceBuffer {
 public:
  virtual ~DeviceBuffer() = default;
  virtual void* data() const = 0;
  virtual size_t bytes() const = 0;
};

enum class Activation : uint8_t { kSilu, kGelu, kGeluTanh };

/// cos and sin of every position, built once: cos_sin [max_positions, rotary_dim]: first half cos, second half sin.
struct RopeTable {
  const float* cos_sin = nullptr;
  int64_t max_positions = 0;
  int32_t rotary_dim = 0;
};

/// One layer of the paged KV cache, in a dtype of its own. K and V each have num_kv_heads * block_size * head_dim
/// elements a block, so that whole blocks can be copied. V: [num_blocks, num_kv_heads, block_size, head_dim]. How K
/// lies within a block is the backend's: [num_kv_heads, head_dim, block_size] on the CPU, and for bfloat16 there
/// [num_kv_heads, head_dim / 2, block_size, 2] followed by [block_size] for the last channel of an odd head_dim.
struct KvLayer {
  void* k = nullptr;
  void* v = nullptr;
  DType dtype = DType::kFloat32;
  int64_t num_blocks = 0;
  int32_t block_size = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  float k_scale = 1.0f;  ///< of a layer of kFloat8E4M3: kept divided by it (times 1 / scale)
  float v_scale = 1.0f;
};

struct AttentionShape {
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_size = 0;
  float scale = 1.0f;
  DType cache_dtype = DType::kFloat32;
};

/// The batch as attention sees it: device pointers, and for plan() the lengths in host memory too. Query token t of
/// request r sits at position seq_lens[r] - (query_start[r+1] - query_start[r]) + (t - query_start[r]) and sees all
/// positions up to its own.
struct AttentionBatch {
  int32_t num_requests = 0;
  int32_t num_tokens = 0;
  const int32_t* query_start = nullptr;       ///< [R+1]
  const int32_t* seq_lens = nullptr;          ///< [R]
  const int32_t* block_start = nullptr;       ///< [R+1]
  const int32_t* blocks = nullptr;            ///< [block_start[R]]
  const int32_t* host_query_start = nullptr;  ///< [R+1]
  const int32_t* host_seq_lens = nullptr;     ///< [R]
};

/// Paged attention: plan once a step on the host, run once a layer.
class AttentionBackend {
 public:
  virtual ~AttentionBackend() = default;
  virtual void plan(const AttentionShape& shape, const AttentionBatch& batch) = 0;
  /// q: rows of `qkv` [T, (H + 2K) * D], first H * D columns, already rotated; out [T, H * D].
  /// sliding_window: positions a query sees, itself included; 0 = all.
  virtual void run(const KvLayer& cache, const Tensor& qkv, int32_t sliding_window, const Tensor& out) = 0;
};

/// How one logits row becomes a token. Pointers are host memory.
struct SampleParams {
  float temperature = 0.0f;  ///< 0 = greedy: the lowest id among the largest logits
  int32_t top_k = -1;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  uint64_t seed = 0;
  int32_t position = 0;              ///< of the sampled token in its sequence; (seed, position) fixes the random number
  std::span<const int32_t> history;  ///< generated tokens, for the penalties
  std::span<const int32_t> bias_ids;
  std::span<const float> bias_values;
};

/// A row of logits that becomes a token.
struct SampleRequest {
  int32_t row = 0;  ///< of the logits that sample() is given
  SampleParams params;
  int32_t* token = nullptr;         ///< host
  int32_t* device_token = nullptr;  ///< device: for steps that are queued before the host knows the token; may be null
};

/// Log-probabilities of the raw row (no penalty, no temperature), natural log.
struct LogprobRequest {
  int32_t row = 0;     ///< of the logits that logprobs() is given
  int32_t target = 0;  ///< token id, or -(i + 1): the token of the i-th planned sample
  int32_t top_count = 0;
  std::span<const int32_t> watch_ids;
  float* target_logprob = nullptr;  ///< 1
  int32_t* top_ids = nullptr;       ///< top_count, best first, ties by lower id
  float* top_logprobs = nullptr;    ///< top_count
  float* watch_logprobs = nullptr;  ///< watch_ids.size()
};

/// Top-k routing of a mixture-of-experts layer: ids and weights [T, top_k], in device memory.
struct MoeRouting {
  int32_t* expert_ids = nullptr;
  float* expert_weights = nullptr;
  int32_t num_experts = 0;
  int32_t top_k = 0;
  bool normalize = false;  ///< divide the top-k softmax weights by their sum
};

struct ExpertWeights {
  const Weight* gate_up = nullptr;  ///< [2I, hidden]
  const Weight* down = nullptr;     ///< [hidden, I]
};

/// One layer's experts.
struct MoeLayer {
  std::span<const ExpertWeights> experts;
  int32_t top_k = 0;
};

/// The largest steps that will come.
struct StepLimits {
  int32_t max_requests = 0;
  int32_t max_tokens = 0;
  int64_t max_input_words = 0;   ///< that a batch has
  int64_t max_result_words = 0;  ///< that its sampling and log-probabilities give
  int64_t vocab_size = 0;
  AttentionShape attention;
  std::vector<int32_t> windows;  ///< each sliding window that a layer has, 0 = all
  std::vector<MoeLayer> moe_layers;
};

/// Whose memory a step's ops use beside their tensors.
enum class StepMemory : uint8_t {
  kShared,  ///< grows with what any step needs
  kFixed,   ///< does not move once the largest such step has run: what is captured in graphs, or runs as it would there
};

/// Ops that were captured once and can be queued again by one call, on the same tensors (a CUDA graph). What they read
/// in them, and what lies in the places of upload_to(), may be other than at the capture.
class OpGraph {
 public:
  virtual ~OpGraph() = default;
  virtual void replay() = 0;
  virtual int32_t node_count() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;
  virtual DType activation_dtype() const = 0;
  /// Rows that products with the widest activations work through at once: more would leave a CPU's caches. A GPU, which
  /// reads the weights anew for each such slice, wants as many as there is memory for.
  virtual int64_t mlp_slice_rows() const { return 1024; }
  /// What the device tells of its work, for profiles; null where what it does is what its ops do (CPU).
  virtual DeviceActivities* activities() { return nullptr; }

  // --- memory ---------------------------------------------------------------------------------------------------
  virtual std::unique_ptr<DeviceBuffer> allocate(size_t bytes) = 0;
  /// Bytes that allocate() may still give. On any thread.
  virtual size_t available_bytes() const = 0;
  /// Once the weights are there: allocates what the ops of such steps need beside their tensors, so that none of them
  /// allocates device memory later. Larger steps still run. Throws OutOfMemory.
  virtual void reserve(const StepLimits& limits) { (void)limits; }
  /// Device memory that the ops keep beside their tensors.
  virtual size_t scratch_bytes() const { return 0; }
  /// Has the system give these bytes of an allocation their memory now, not when an op first writes there. On any
  /// thread. False where there is nothing to do or it cannot be done.
  virtual bool prefault(void* data, size_t bytes) {
    (void)data;
    (void)bytes;
    return false;
  }
  /// Makes host words readable by ops until the step is finished, or the next synchronize(); the CPU returns the
  /// pointer itself. The words go to the device with the next op, all that were uploaded before it in one copy.
  virtual const int32_t* upload(std::span<const int32_t> words) = 0;
  /// As upload(), to a place of the caller's, after the ops queued so far; `words` may change on return.
  virtual void upload_to(int32_t* device, std::span<const int32_t> words) {
    std::memcpy(device, words.data(), words.size_bytes());
  }
  /// Copies host bytes into device memory, after the ops queued so far; `host` may change on return.
  virtual void write(void* device, const void* host, size_t bytes) { std::memcpy(device, host, bytes); }
  /// Copies a device tensor (activation dtype) to host floats, which are there when the step is finished, or after
  /// synchronize().
  virtual void download(const Tensor& from, float* to) = 0;
  /// Waits for all ops and gives the host what they have for it; no step is unfinished afterwards.
  virtual void synchronize() = 0;

  // --- steps ----------------------------------------------------------------------------------------------------
  /// Steps can be queued while the one before is still running, and ops be captured in graphs. Where not, ops are done
  /// on return and device memory is the host's.
  virtual bool queues_steps() const { return false; }
  /// The ops up to end_step() are a step's. Two steps may be unfinished at once.
  virtual void begin_step(StepMemory memory) { (void)memory; }
  /// All that the step has for the host is on its way, in one copy.
  virtual void end_step() {}
  /// The oldest unfinished step is done, or has failed: finish_step() will not wait. Asked between steps, where nobody
  /// expects an exception.
  virtual bool step_done() const { return true; }
  /// Waits for the oldest unfinished step and gives the host what it has. Throws what its ops found wrong.
  virtual void finish_step() {}
  /// Calls `ops`, which are captured instead of queued. They must have run before in a step of kFixed memory, as they
  /// are or larger. Null where queues_steps() is false.
  virtual std::unique_ptr<OpGraph> capture(const std::function<void()>& ops) {
    (void)ops;
    return nullptr;
  }
  /// Within capture(): the kernels, copies and memsets captured so far.
  virtual int32_t captured_nodes() const { return 0; }

  // --- weights --------------------------------------------------------------------------------------------------
  virtual std::unique_ptr<Weight> create_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype) = 0;
  /// Converts `row_count` stored rows (row-major, `stored` dtype, possibly unaligned) into rows [first_row, ...) of
  /// the weight. Parallel inside. Rows of a float8 weight are quantized, see core/float8_rows.h.
  virtual void load_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source, DType stored) = 0;
  /// As load_rows(), for a float8 weight from rows that are float8 already, with their `scales` [row_count].
  virtual void load_quantized_rows(Weight& weight, int64_t first_row, int64_t row_count, const void* source,
                                   const float* scales) = 0;
  /// Names how weights lie in memory: bytes packed under one name may be borrowed under it by any later process. Empty
  /// where weights cannot be borrowed, and then the next two are not called.
  virtual std::string_view weight_layout() const { return {}; }
  /// Weight::bytes() of such a weight.
  virtual size_t packed_bytes(WeightKind kind, int64_t rows, int64_t cols, DType dtype) const {
    (void)kind, (void)rows, (void)cols, (void)dtype;
    return 0;
  }
  /// A weight on bytes that Weight::packed() gave, on a cache line and outliving it. They are only read.
  /// `seems_available`: they lie in the system's file cache of a disk, which it counts as memory that can be had,
  /// though not by allocate().
  virtual std::unique_ptr<Weight> borrow_weight(WeightKind kind, int64_t rows, int64_t cols, DType dtype,
                                                const void* packed, bool seems_available) {
    (void)kind, (void)rows, (void)cols, (void)dtype, (void)packed, (void)seems_available;
    return nullptr;
  }

  // --- ops ------------------------------------------------------------------------------------------------------
  /// ids[i] >= 0 stays; -(s+1) becomes last_sampled[s]. In place into `out` [T].
  virtual void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) = 0;
  /// out[t] = row ids[t] of the table; `table` may be packed for linear() (tied embeddings).
  virtual void embed(const Weight& table, const int32_t* ids, const Tensor& out) = 0;
  /// out = x * rsqrt(mean(x^2) + eps) * gain, per row.
  virtual void rms_norm(const Tensor& x, const Weight& gain, float eps, const Tensor& out) = 0;
  /// residual += delta; out = rms_norm(residual).
  virtual void add_rms_norm(const Tensor& residual, const Tensor& delta, const Weight& gain, float eps,
                            const Tensor& out) = 0;
  /// out[T, rows(w)] = x[T, cols(w)] * w^T (+ bias, may be null). For a float8 weight each row of x is quantized as
  /// well; the sums of the products of codes are multiplied by both scales.
  virtual void linear(const Weight& weight, const Weight* bias, const Tensor& x, const Tensor& out) = 0;
  /// Per token of qkv [T, (H + 2K) * D]: optional RMSNorm of each q and k head (gains [D], null = off), rope on q and k
  /// in place, then K and V into the cache at kv_slots[t] (block * block_size + offset).
  virtual void rope_and_store(const Tensor& qkv, int32_t num_heads, const RopeTable& rope, const Weight* q_norm,
                              const Weight* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                              const KvLayer& cache) = 0;
  virtual AttentionBackend& attention() = 0;
  /// gate_up [T, 2I] -> out [T, I] = activation(gate) * up.
  virtual void gated_activation(const Tensor& gate_up, Activation activation, const Tensor& out) = 0;
  /// softmax over router_logits [T, E], top_k largest (ties by lower id).
  virtual void moe_route(const Tensor& router_logits, const MoeRouting& routing) = 0;
  /// out[t] = sum over k of weight[t,k] * down_e(activation(gate_e(x)) * up_e(x)), e = expert_ids[t,k], in order of k.
  virtual void moe_experts(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                           Activation activation, const Tensor& out) = 0;
  virtual void gather_rows(const Tensor& x, const int32_t* rows, const Tensor& out) = 0;

  // --- sampling -------------------------------------------------------------------------------------------------
  /// What will be made of a step's logits, told before its forward pass: the parameters go to the device with the
  /// batch. What the requests read must last until the last of these calls of the step, what they fill until it is
  /// finished.
  virtual void plan_sampling(std::span<const SampleRequest> samples, std::span<const LogprobRequest> logprobs) = 0;
  /// The planned samples [first, first + count) from `logits` [L, vocab], which keep their values.
  virtual void sample(const Tensor& logits, size_t first, size_t count) = 0;
  /// The planned log-probabilities, likewise; after the samples whose tokens they are of.
  virtual void logprobs(const Tensor& logits, size_t first, size_t count) = 0;
};

}  // namespace vitrine

// The exported table: exceptions become codes here and nowhere else.
#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "backend/cuda/activation.h"
#include "backend/cuda/activity_recorder.h"
#include "backend/cuda/context.h"
#include "backend/cuda/limits.h"
#include "backend/cuda/norm.h"
#include "backend/cuda/rope.h"
#include "backend/cuda/rows.h"
#include "core/dtype.h"

namespace vitrine::cuda {
namespace {

thread_local std::string last_error_text;

int report(int status, const char* text) noexcept {
  try {
    last_error_text = text;
  } catch (...) {  // no memory for the text: the code must do
    last_error_text.clear();
  }
  return status;
}

template <class Body>
int guarded(Body body) noexcept {
  try {
    body();
    return VITRINE_CUDA_OK;
  } catch (const Error& error) {
    return report(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return report(VITRINE_CUDA_ERROR, "no host memory");
  } catch (const std::exception& error) {
    return report(VITRINE_CUDA_ERROR, error.what());
  } catch (...) {
    return report(VITRINE_CUDA_ERROR, "unknown exception");
  }
}

using Context = VitrineCudaContext;
using Weight = VitrineCudaWeight;

const char* last_error() { return last_error_text.c_str(); }

int get_device_count(int* count) {
  return guarded([&] { *count = device_count(); });
}

int get_device(int index, VitrineCudaDevice* device) {
  return guarded([&] { *device = describe_device(index); });
}

int open(int device, int dtype, Context** context) {
  return guarded([&] {
    require(dtype >= VITRINE_FLOAT32 && dtype <= VITRINE_BFLOAT16, "unknown dtype ", dtype);
    const VitrineCudaDevice description = describe_device(device);
    check(cudaSetDevice(device), "cudaSetDevice");
    *context = new Context(device, description, dtype);
  });
}

void close(Context* context) {
  if (context == nullptr) return;
  cudaStreamSynchronize(context->stream.get());
  delete context;
}

int memory_info(Context* context, size_t* free_bytes, size_t* total_bytes) {
  return guarded([&] {
    check(cudaSetDevice(context->device), "cudaSetDevice");
    check(cudaMemGetInfo(free_bytes, total_bytes), "cudaMemGetInfo");
  });
}

int get_limits(Context* context, double seconds, VitrineCudaLimits* limits) {
  return guarded([&] { *limits = measure_limits(*context, seconds); });
}

const char* matmul_library(Context* context) { return context->linear.description().c_str(); }

int allocate(Context* context, size_t bytes, void** data) {
  return guarded([&] {
    void* memory = nullptr;
    check(cudaMalloc(&memory, std::max<size_t>(bytes, 1)), "cudaMalloc");
    *data = memory;
    check(cudaMemsetAsync(memory, 0, bytes, context->stream.get()), "cudaMemsetAsync");
  });
}

void release(Context*, void* data) { cudaFree(data); }

int upload(Context* context, const int32_t* words, size_t count, const int32_t** device_words) {
  return guarded(
      [&] { *device_words = static_cast<const int32_t*>(context->transfers.upload(words, count * sizeof(int32_t))); });
}

int write(Context* context, void* device, const void* host, size_t bytes) {
  return guarded([&] { context->transfers.write(device, host, bytes); });
}

int download(Context* context, const VitrineTensor* from, float* to) {
  return guarded([&] {
    const auto count = static_cast<size_t>(from->rows * from->cols);
    if (from->dtype == VITRINE_FLOAT32) return context->transfers.read(to, from->data, count * sizeof(float));
    std::vector<uint16_t> stored(count);
    context->transfers.read(stored.data(), from->data, count * sizeof(uint16_t));
    const auto convert = from->dtype == VITRINE_FLOAT16 ? half_to_float : bf16_to_float;
    std::transform(stored.begin(), stored.end(), to, convert);
  });
}

int synchronize(Context* context) {
  return guarded([&] { context->transfers.synchronize(); });
}

int new_weight(Context* context, int kind, int64_t rows, int64_t cols, int dtype, Weight** weight) {
  return guarded([&] { *weight = create_weight(*context, kind, rows, cols, dtype); });
}

void free_weight(Context*, Weight* weight) { destroy_weight(weight); }

size_t get_weight_bytes(Context* context, const Weight* weight) { return weight_bytes(*context, *weight); }

int load_weight_rows(Context* context, Weight* weight, int64_t first_row, int64_t row_count, const void* source,
                     int stored) {
  return guarded([&] { load_rows(*context, *weight, first_row, row_count, source, stored); });
}

int op_resolve(Context* context, const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) {
  return guarded([&] { resolve_token_ids(ids, last_sampled, count, out, context->stream.get()); });
}

int op_embed(Context* context, const Weight* table, const int32_t* ids, const VitrineTensor* out) {
  return guarded([&] {
    require(table->dtype == out->dtype, "embed: table and output must be of one dtype, got ", table->dtype, " and ",
            out->dtype);
    gather_rows(table->data, ids, *out, context->stream.get());
  });
}

int op_rms_norm(Context* context, const VitrineTensor* x, const Weight* gain, float eps, const VitrineTensor* out) {
  return guarded([&] { rms_norm(*x, vector_data(gain), eps, *out, context->stream.get()); });
}

int op_add_rms_norm(Context* context, const VitrineTensor* residual, const VitrineTensor* delta, const Weight* gain,
                    float eps, const VitrineTensor* out) {
  return guarded([&] { add_rms_norm(*residual, *delta, vector_data(gain), eps, *out, context->stream.get()); });
}

int op_linear(Context* context, const Weight* weight, const Weight* bias, const VitrineTensor* x,
              const VitrineTensor* out) {
  return guarded([&] { context->linear.run(*weight, bias, *x, *out, context->stream.get()); });
}

int op_rope_and_store(Context* context, const VitrineTensor* qkv, int32_t num_heads, const VitrineRope* rope,
                      const Weight* q_norm, const Weight* k_norm, float eps, const int32_t* positions,
                      const int32_t* kv_slots, const VitrineKvLayer* cache) {
  return guarded([&] {
    require(qkv->cols == (num_heads + 2 * int64_t{cache->num_kv_heads}) * cache->head_dim,
            "rope_and_store: ", qkv->cols, " columns are not ", num_heads, " + 2 * ", cache->num_kv_heads, " heads of ",
            cache->head_dim);
    rope_and_store(*qkv, num_heads, *rope, vector_data(q_norm), vector_data(k_norm), eps, positions, kv_slots, *cache,
                   context->stream.get());
  });
}

int op_plan_attention(Context* context, const VitrineAttentionShape* shape, const VitrineAttentionBatch* batch) {
  return guarded([&] { context->attention.plan(*shape, *batch); });
}

int op_run_attention(Context* context, const VitrineKvLayer* cache, const VitrineTensor* qkv, int32_t sliding_window,
                     const VitrineTensor* out) {
  return guarded([&] { context->attention.run(*cache, *qkv, sliding_window, *out, context->stream.get()); });
}

int op_gated_activation(Context* context, const VitrineTensor* gate_up, int activation, const VitrineTensor* out) {
  return guarded([&] { gated_activation(*gate_up, activation, *out, context->stream.get()); });
}

int op_moe_route(Context* context, const VitrineTensor* router_logits, const VitrineMoeRouting* routing) {
  return guarded([&] { moe_route(*router_logits, *routing, context->stream.get()); });
}

int op_moe_experts(Context* context, const VitrineTensor* x, const VitrineMoeRouting* routing,
                   const VitrineExpert* experts, int activation, const VitrineTensor* out) {
  return guarded([&] { context->experts.run(*x, *routing, experts, activation, *out, context->stream.get()); });
}

int op_gather_rows(Context* context, const VitrineTensor* x, const int32_t* rows, const VitrineTensor* out) {
  return guarded([&] { gather_rows(x->data, rows, *out, context->stream.get()); });
}

int op_sample(Context* context, const VitrineTensor* logits, int32_t count, const int32_t* rows,
              const VitrineSampleParams* params, int32_t* sampled) {
  const auto size = static_cast<size_t>(count);
  return guarded([&] { context->sampler.sample(*logits, {rows, size}, {params, size}, sampled); });
}

int op_logprobs(Context* context, const VitrineTensor* logits, int32_t count, const VitrineLogprobRequest* requests) {
  return guarded([&] { context->sampler.logprobs(*logits, {requests, static_cast<size_t>(count)}); });
}

int start_activities() {
  return guarded([] { ActivityRecorder::instance().start(); });
}

void stop_activities() { ActivityRecorder::instance().stop(); }

int flush_activities() {
  return guarded([] { ActivityRecorder::instance().flush(); });
}

size_t take_activities(VitrineCudaActivity* activities, size_t capacity, uint64_t* dropped) {
  return ActivityRecorder::instance().take(activities, capacity, *dropped);
}

constexpr VitrineCudaApi kApi = {
    .abi_version = VITRINE_CUDA_ABI_VERSION,
    .struct_bytes = sizeof(VitrineCudaApi),
    .last_error = last_error,
    .device_count = get_device_count,
    .describe_device = get_device,
    .open = open,
    .close = close,
    .memory_info = memory_info,
    .measure_limits = get_limits,
    .matmul_library = matmul_library,
    .allocate = allocate,
    .release = release,
    .upload = upload,
    .write = write,
    .download = download,
    .synchronize = synchronize,
    .create_weight = new_weight,
    .destroy_weight = free_weight,
    .weight_bytes = get_weight_bytes,
    .load_rows = load_weight_rows,
    .resolve_token_ids = op_resolve,
    .embed = op_embed,
    .rms_norm = op_rms_norm,
    .add_rms_norm = op_add_rms_norm,
    .linear = op_linear,
    .rope_and_store = op_rope_and_store,
    .plan_attention = op_plan_attention,
    .run_attention = op_run_attention,
    .gated_activation = op_gated_activation,
    .moe_route = op_moe_route,
    .moe_experts = op_moe_experts,
    .gather_rows = op_gather_rows,
    .sample = op_sample,
    .logprobs = op_logprobs,
    .start_activities = start_activities,
    .stop_activities = stop_activities,
    .flush_activities = flush_activities,
    .take_activities = take_activities,
};

}  // namespace
}  // namespace vitrine::cuda

extern "C" __attribute__((visibility("default"))) const VitrineCudaApi* vitrine_cuda_api(void) {
  return &vitrine::cuda::kApi;
}

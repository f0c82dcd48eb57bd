// The exported table: exceptions become codes here and nowhere else.
#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "backend/cuda/activation.h"
#include "backend/cuda/activity_recorder.h"
#include "backend/cuda/context.h"
#include "backend/cuda/limits.h"
#include "backend/cuda/norm.h"
#include "backend/cuda/rope.h"
#include "backend/cuda/rows.h"

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
    *data = allocate_device_memory(bytes);
    check(cudaMemsetAsync(*data, 0, bytes, context->stream.get()), "cudaMemsetAsync");
  });
}

void release(Context*, void* data) { cudaFree(data); }

int reserve(Context* context, const VitrineStepLimits* limits) {
  return guarded([&] { context->reserve(*limits); });
}

size_t scratch_bytes(Context* context) { return context->scratch_bytes(); }

int upload(Context* context, const int32_t* words, size_t count, const int32_t** device_words) {
  return guarded(
      [&] { *device_words = static_cast<const int32_t*>(context->inputs.upload(words, count * sizeof(int32_t))); });
}

int upload_to(Context* context, int32_t* device, const int32_t* words, size_t count) {
  return guarded([&] { context->inputs.upload_to(device, words, count); });
}

int write(Context* context, void* device, const void* host, size_t bytes) {
  return guarded([&] { context->transfers.write(device, host, bytes); });
}

int download(Context* context, const VitrineTensor* from, float* to) {
  return guarded([&] {
    const auto count = from->rows * from->cols;
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    void* const place =
        context->results.reserve(bytes, [to, bytes](const char* host) { std::memcpy(to, host, bytes); });
    if (from->dtype == VITRINE_FLOAT32) {
      check(cudaMemcpyAsync(place, from->data, bytes, cudaMemcpyDeviceToDevice, context->queue()), "download");
    } else {
      convert(from->data, from->dtype, place, VITRINE_FLOAT32, count, context->queue());
    }
  });
}

int synchronize(Context* context) {
  return guarded([&] {
    context->inputs.flush();
    context->results.end();
    check(cudaStreamSynchronize(context->stream.get()), "synchronize");
    context->inputs.begin();
    context->results.begin();
    context->results.finish_all();
  });
}

int begin_step(Context* context, int fixed_memory) {
  return guarded([&] {
    context->fixed_memory = fixed_memory != 0;
    context->inputs.begin();
    context->results.begin();
  });
}

int end_step(Context* context) {
  return guarded([&] {
    context->inputs.flush();
    context->results.end();
    context->fixed_memory = false;
  });
}

int step_done(Context* context, int* done) {
  return guarded([&] { *done = context->results.done() ? 1 : 0; });
}

int finish_step(Context* context) {
  return guarded([&] { context->results.finish(); });
}

int begin_capture(Context* context) {
  return guarded([&] {
    context->inputs.flush();
    context->fixed_memory = true;
    context->capture.begin();
  });
}

int captured_nodes(Context* context, int32_t* count) {
  return guarded([&] { *count = context->capture.nodes(); });
}

void abandon_capture(Context* context) {
  context->capture.abandon();
  context->fixed_memory = false;
}

int end_capture(Context* context, VitrineCudaGraph** graph) {
  const int status = guarded([&] {
    require(context->inputs.empty(), "an op that was captured has inputs of its own: it had not run before");
    *graph = context->capture.end();
  });
  abandon_capture(context);
  return status;
}

int replay(Context* context, const VitrineCudaGraph* graph) {
  return guarded([&] { check(cudaGraphLaunch(graph->exec, context->queue()), "cudaGraphLaunch"); });
}

int32_t graph_nodes(const VitrineCudaGraph* graph) { return graph->nodes; }

void destroy_graph(Context* context, VitrineCudaGraph* graph) {
  cudaStreamSynchronize(context->stream.get());
  delete graph;
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

int load_weight_codes(Context* context, Weight* weight, int64_t first_row, int64_t row_count, const void* source,
                      const float* scales) {
  return guarded([&] { load_quantized_rows(*context, *weight, first_row, row_count, source, scales); });
}

int op_resolve(Context* context, const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) {
  return guarded([&] { resolve_token_ids(ids, last_sampled, count, out, context->queue()); });
}

int op_embed(Context* context, const Weight* table, const int32_t* ids, const VitrineTensor* out) {
  return guarded([&] {
    require(table->dtype == out->dtype, "embed: table and output must be of one dtype, got ", table->dtype, " and ",
            out->dtype);
    gather_rows(table->data, ids, *out, context->queue());
  });
}

int op_rms_norm(Context* context, const VitrineTensor* x, const Weight* gain, float eps, const VitrineTensor* out) {
  return guarded([&] { rms_norm(*x, vector_data(gain), eps, *out, context->queue()); });
}

int op_add_rms_norm(Context* context, const VitrineTensor* residual, const VitrineTensor* delta, const Weight* gain,
                    float eps, const VitrineTensor* out) {
  return guarded([&] { add_rms_norm(*residual, *delta, vector_data(gain), eps, *out, context->queue()); });
}

int op_linear(Context* context, const Weight* weight, const Weight* bias, const VitrineTensor* x,
              const VitrineTensor* out) {
  return guarded([&] { context->linear.run(*weight, bias, *x, *out, context->queue()); });
}

int op_rope_and_store(Context* context, const VitrineTensor* qkv, int32_t num_heads, const VitrineRope* rope,
                      const Weight* q_norm, const Weight* k_norm, float eps, const int32_t* positions,
                      const int32_t* kv_slots, const VitrineKvLayer* cache) {
  return guarded([&] {
    require(qkv->cols == (num_heads + 2 * int64_t{cache->num_kv_heads}) * cache->head_dim,
            "rope_and_store: ", qkv->cols, " columns are not ", num_heads, " + 2 * ", cache->num_kv_heads, " heads of ",
            cache->head_dim);
    rope_and_store(*qkv, num_heads, *rope, vector_data(q_norm), vector_data(k_norm), eps, positions, kv_slots, *cache,
                   context->queue());
  });
}

int op_plan_attention(Context* context, const VitrineAttentionShape* shape, const VitrineAttentionBatch* batch) {
  return guarded([&] { context->attention.plan(*shape, *batch); });
}

int op_run_attention(Context* context, const VitrineKvLayer* cache, const VitrineTensor* qkv, int32_t sliding_window,
                     const VitrineTensor* out) {
  return guarded([&] { context->attention.run(*cache, *qkv, sliding_window, *out, context->queue()); });
}

int op_gated_activation(Context* context, const VitrineTensor* gate_up, int activation, const VitrineTensor* out) {
  return guarded([&] { gated_activation(*gate_up, activation, *out, context->queue()); });
}

int op_moe_route(Context* context, const VitrineTensor* router_logits, const VitrineMoeRouting* routing) {
  return guarded([&] { moe_route(*router_logits, *routing, context->queue()); });
}

int op_moe_experts(Context* context, const VitrineTensor* x, const VitrineMoeRouting* routing,
                   const VitrineExpert* experts, int activation, const VitrineTensor* out) {
  return guarded([&] { context->experts.run(*x, *routing, experts, activation, *out, context->queue()); });
}

int op_gather_rows(Context* context, const VitrineTensor* x, const int32_t* rows, const VitrineTensor* out) {
  return guarded([&] { gather_rows(x->data, rows, *out, context->queue()); });
}

int op_plan_sampling(Context* context, size_t sample_count, const VitrineSampleRequest* samples, size_t logprob_count,
                     const VitrineLogprobRequest* logprobs) {
  return guarded([&] { context->sampler.plan({samples, sample_count}, {logprobs, logprob_count}); });
}

int op_sample(Context* context, const VitrineTensor* logits, size_t first, size_t count) {
  return guarded([&] { context->sampler.sample(*logits, first, count, context->queue()); });
}

int op_logprobs(Context* context, const VitrineTensor* logits, size_t first, size_t count) {
  return guarded([&] { context->sampler.logprobs(*logits, first, count, context->queue()); });
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
    .reserve = reserve,
    .scratch_bytes = scratch_bytes,
    .upload = upload,
    .upload_to = upload_to,
    .write = write,
    .download = download,
    .synchronize = synchronize,
    .begin_step = begin_step,
    .end_step = end_step,
    .step_done = step_done,
    .finish_step = finish_step,
    .begin_capture = begin_capture,
    .captured_nodes = captured_nodes,
    .end_capture = end_capture,
    .abandon_capture = abandon_capture,
    .replay = replay,
    .graph_nodes = graph_nodes,
    .destroy_graph = destroy_graph,
    .create_weight = new_weight,
    .destroy_weight = free_weight,
    .weight_bytes = get_weight_bytes,
    .load_rows = load_weight_rows,
    .load_quantized_rows = load_weight_codes,
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
    .plan_sampling = op_plan_sampling,
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

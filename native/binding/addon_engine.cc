// Crossing of steps, and the engine's end in all the ways it can come: close(), garbage collection, the end of the
// environment (exit or a terminated Worker).
#include "binding/addon_engine.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "binding/read_config.h"
#include "core/check.h"
#include "core/memory_probe.h"
#include "model/weight_cache.h"

namespace vitrine {
namespace {

constexpr size_t kIdleSteps = 4;
constexpr size_t kIdleStepWords = size_t{1} << 20;  // larger buffers are not kept
constexpr size_t kIdleStepSpans = kIdleStepWords * sizeof(int32_t) / sizeof(SpanRecord);

/// A copy of native memory; null when there is no memory for it.
napi_value to_array_buffer(napi_env env, const std::vector<int32_t>& words) {
  void* data = nullptr;
  napi_value buffer;
  const size_t bytes = words.size() * sizeof(int32_t);
  if (napi_create_arraybuffer(env, bytes, &data, &buffer) != napi_ok) return nullptr;
  std::memcpy(data, words.data(), bytes);
  return buffer;
}

/// The three arguments of onStep. False when JavaScript cannot run any more: a Worker that is being terminated. The
/// plain C functions, because those of node-addon-api throw in that state, and so end the process.
bool step_to_js(napi_env env, const Step& step, SpanView& span_view, napi_value (&arguments)[3]) {
  napi_value null;
  if (napi_get_null(env, &null) != napi_ok) return false;
  arguments[0] = arguments[1] = arguments[2] = null;
  std::string error = step.error;
  if (error.empty()) {
    const napi_value output = to_array_buffer(env, step.output);
    const napi_value spans = step.spans.empty() ? null : span_view.copy(env, step.spans);
    if (output != nullptr && spans != nullptr) {
      arguments[1] = output;
      arguments[2] = spans;
      return true;
    }
    error = "no memory for a step's output of " + std::to_string(step.output.size() * sizeof(int32_t)) + " bytes and " +
            std::to_string(step.spans.size() * sizeof(SpanRecord)) + " bytes of spans";
  }
  napi_value message;
  return napi_create_string_utf8(env, error.data(), error.size(), &message) == napi_ok &&
         napi_create_error(env, nullptr, message, &arguments[0]) == napi_ok;
}

/// What ran out of memory is an error with a code: the caller knows which options to change.
Napi::Error coded(Napi::Env env, const Error& thrown, const char* code) {
  const Napi::Error error = Napi::Error::New(env, thrown.what());
  error.Value().Set("code", code);
  return error;
}

template <class Body>
void with_code(Napi::Env env, Body body) {
  try {
    body();
  } catch (const OutOfMemory& thrown) {
    throw coded(env, thrown, "OUT_OF_MEMORY");
  } catch (const WeightCacheLocked& thrown) {
    throw coded(env, thrown, "WEIGHT_CACHE_LOCKED");
  }
}

Napi::Value to_object(Napi::Env env, const WeightOrigin& origin) {
  const auto result = Napi::Object::New(env);
  switch (origin.place) {
    case WeightOrigin::Place::kMemory: result.Set("place", "memory"); break;
    case WeightOrigin::Place::kMapped: result.Set("place", "mapped"); break;
    case WeightOrigin::Place::kWritten: result.Set("place", "written"); break;
  }
  result.Set("path", origin.path);
  result.Set("problem", origin.problem);
  return result;
}

Napi::Value to_object(Napi::Env env, const SpanTables& tables) {
  const auto names = Napi::Array::New(env, tables.names.size());
  for (uint32_t i = 0; i < tables.names.size(); ++i) names.Set(i, tables.names[i]);
  const auto threads = Napi::Array::New(env, tables.threads.size());
  for (uint32_t i = 0; i < tables.threads.size(); ++i) {
    const auto thread = Napi::Object::New(env);
    thread.Set("tid", tables.threads[i].tid);
    thread.Set("name", tables.threads[i].name);
    threads.Set(i, thread);
  }
  const auto result = Napi::Object::New(env);
  result.Set("names", names);
  result.Set("threads", threads);
  return result;
}

Napi::Value to_bytes(Napi::Env env, const std::vector<SpanRecord>& chunk) {
  const size_t bytes = chunk.size() * sizeof(SpanRecord);
  auto array = Napi::Uint8Array::New(env, bytes);
  std::memcpy(array.Data(), chunk.data(), bytes);
  return array;
}

Napi::Value to_object(Napi::Env env, const DeviceTraceBatch& batch) {
  const auto steps = Napi::Array::New(env, batch.steps.size());
  for (uint32_t i = 0; i < batch.steps.size(); ++i) {
    const auto step = Napi::Object::New(env);
    step.Set("stepId", batch.steps[i].step_id);
    step.Set("host", to_bytes(env, batch.steps[i].host));
    step.Set("device", to_bytes(env, batch.steps[i].device));
    steps.Set(i, step);
  }
  const auto result = Napi::Object::New(env);
  result.Set("device", batch.device);
  result.Set("hostTables", to_object(env, batch.host_tables));
  result.Set("deviceTables", to_object(env, batch.device_tables));
  result.Set("steps", steps);
  return result;
}

}  // namespace

Napi::Function AddonEngine::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {
                         InstanceMethod<&AddonEngine::load_weights>("loadWeights"),
                         InstanceMethod<&AddonEngine::init_cache>("initCache"),
                         InstanceMethod<&AddonEngine::submit>("submit"),
                         InstanceMethod<&AddonEngine::memory_info>("memoryInfo"),
                         InstanceMethod<&AddonEngine::span_tables>("spanTables"),
                         InstanceMethod<&AddonEngine::keep_thread_off>("keepThreadOff"),
                         InstanceMethod<&AddonEngine::captured_graphs>("capturedGraphs"),
                         InstanceMethod<&AddonEngine::check_device_trace>("checkDeviceTrace"),
                         InstanceMethod<&AddonEngine::start_device_trace>("startDeviceTrace"),
                         InstanceMethod<&AddonEngine::take_device_trace>("takeDeviceTrace"),
                         InstanceMethod<&AddonEngine::finish_device_trace>("finishDeviceTrace"),
                         InstanceMethod<&AddonEngine::stop_device_trace>("stopDeviceTrace"),
                         InstanceMethod<&AddonEngine::close>("close"),
                     });
}

AddonEngine::AddonEngine(const Napi::CallbackInfo& info) : ObjectWrap(info), env_(info.Env()) {
  require(info[1].IsFunction(), "onStep: expected a function");
  EngineOptions options = read_engine_config(info[0]);
  announcer_ = Announcer::New(env_, info[1].As<Napi::Function>(), "vitrine.onStep", 0, 1, this);
  announcer_.Unref(env_);
  try {
    engine_ = std::make_unique<Engine>(std::move(options), [this](std::unique_ptr<Step> step) {
      if (announcer_.NonBlockingCall(step.get()) == napi_ok) step.release();
    });
  } catch (...) {
    announcer_.Abort();
    throw;
  }
  // The hooks of an environment run last in, first out: this one before that of the thread-safe function, which would
  // otherwise be freed under the engine thread.
  napi_add_env_cleanup_hook(env_, at_environment_end, this);
}

void AddonEngine::at_environment_end(void* self) { static_cast<AddonEngine*>(self)->shut_down(); }

void AddonEngine::shut_down() {
  if (!engine_) return;
  engine_->close();
  engine_.reset();
  span_view_.release(env_);
  announcer_.Abort();  // results that were not delivered yet are dropped
  napi_remove_env_cleanup_hook(env_, at_environment_end, this);
}

void AddonEngine::deliver(Napi::Env env, Napi::Function callback, AddonEngine* self, Step* raw_step) {
  std::unique_ptr<Step> step(raw_step);
  if (static_cast<napi_env>(env) == nullptr || !self->engine_) return;  // closed: nothing is delivered any more
  napi_value arguments[3];
  const bool ready = step_to_js(env, *step, self->span_view_, arguments);
  self->keep_step(std::move(step));
  self->count_pending(env, -1);
  napi_value receiver;
  if (!ready || napi_get_undefined(env, &receiver) != napi_ok) return;
  if (napi_call_function(env, receiver, callback, 3, arguments, nullptr) == napi_pending_exception) {
    // Left pending it would only be a warning (DEP0168); thrown by a callback it must be an uncaught exception.
    napi_value thrown;
    if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) napi_fatal_exception(env, thrown);
  }
}

std::unique_ptr<Step> AddonEngine::take_step() {
  if (idle_.empty()) return std::make_unique<Step>();
  std::unique_ptr<Step> step = std::move(idle_.back());
  idle_.pop_back();
  return step;
}

void AddonEngine::keep_step(std::unique_ptr<Step> step) {
  if (idle_.size() >= kIdleSteps || step->batch.capacity() > kIdleStepWords ||
      step->output.capacity() > kIdleStepWords || step->spans.capacity() > kIdleStepSpans) {
    return;
  }
  idle_.push_back(std::move(step));
}

void AddonEngine::count_pending(Napi::Env env, int change) {
  pending_ += change;
  if (change > 0 && pending_ == 1) {
    announcer_.Ref(env);
    Ref();
  } else if (change < 0 && pending_ == 0) {
    announcer_.Unref(env);
    Unref();
  }
}

Napi::Value AddonEngine::load_weights(const Napi::CallbackInfo& info) {
  require(engine_ != nullptr, "loadWeights: the engine is closed");
  WeightOrigin origin;
  with_code(info.Env(), [&] { origin = engine_->load_weights(read_load_plan(info[0])); });
  return to_object(info.Env(), origin);
}

void AddonEngine::init_cache(const Napi::CallbackInfo& info) {
  require(engine_ != nullptr, "initCache: the engine is closed");
  with_code(info.Env(), [&] { engine_->init_cache(read_cache_config(info[0])); });
}

void AddonEngine::submit(const Napi::CallbackInfo& info) {
  require(engine_ != nullptr, "submit: the engine is closed");
  require(info[0].IsArrayBuffer(), "submit: expected an ArrayBuffer");
  auto buffer = info[0].As<Napi::ArrayBuffer>();
  require(buffer.ByteLength() % sizeof(int32_t) == 0, "submit: expected whole 32-bit words, got ", buffer.ByteLength(),
          " bytes");
  // A copy (microseconds) instead of a reference: the engine thread never reads memory that JavaScript can change or
  // give away.
  std::unique_ptr<Step> step = take_step();
  step->batch.resize(buffer.ByteLength() / sizeof(int32_t));
  if (!step->batch.empty()) std::memcpy(step->batch.data(), buffer.Data(), buffer.ByteLength());
  engine_->submit(std::move(step));
  count_pending(info.Env(), 1);
}

Napi::Value AddonEngine::memory_info(const Napi::CallbackInfo& info) {
  require(engine_ != nullptr, "memoryInfo: the engine is closed");
  const EngineMemory& memory = engine_->memory();
  const auto result = Napi::Object::New(info.Env());
  const auto set = [&](const char* key, size_t bytes) { result.Set(key, static_cast<double>(bytes)); };
  set("weightBytes", memory.weight_bytes);
  set("kvCacheBytes", memory.kv_cache_bytes);
  set("workspaceBytes", memory.workspace_bytes);
  set("kvBytesPerToken", memory.kv_bytes_per_token);
  set("availableBytes", engine_->available_bytes());
  set("residentBytes", MemoryProbe().resident_bytes());
  set("graphCount", memory.graphs.count);
  set("graphBytes", memory.graphs.bytes);
  result.Set("graphSeconds", memory.graphs.seconds);
  return result;
}

Engine& AddonEngine::open_engine(const char* function) const {
  require(engine_ != nullptr, function, ": the engine is closed");
  return *engine_;
}

Napi::Value AddonEngine::span_tables(const Napi::CallbackInfo& info) {
  return to_object(info.Env(), open_engine("spanTables").span_tables());
}

Napi::Value AddonEngine::captured_graphs(const Napi::CallbackInfo& info) {
  const Engine& engine = open_engine("capturedGraphs");
  const auto result = Napi::Array::New(info.Env());
  if (engine.graphs() == nullptr) return result;
  const std::vector<std::string>& names = engine.span_tables().names;
  for (const GraphRunner::Size& size : engine.graphs()->sizes()) {
    if (size.graph == nullptr) continue;
    const auto ops = Napi::Array::New(info.Env(), size.ops.size());
    for (uint32_t i = 0; i < size.ops.size(); ++i) {
      const SpanRecord& record = size.ops[i].site->record;
      const std::optional<uint32_t> module = module_of(record);
      const auto op = Napi::Object::New(info.Env());
      op.Set("op", names[record.name]);
      op.Set("module", module ? Napi::String::New(info.Env(), names[*module]) : info.Env().Null());
      op.Set("nodes", size.ops[i].nodes);
      ops.Set(i, op);
    }
    const auto graph = Napi::Object::New(info.Env());
    graph.Set("batchSize", size.requests);
    graph.Set("range", size.replay_site.range);
    graph.Set("ops", ops);
    result.Set(result.Length(), graph);
  }
  return result;
}

void AddonEngine::keep_thread_off(const Napi::CallbackInfo&) {
  require(engine_ != nullptr, "keepThreadOff: the engine is closed");
  engine_->keep_caller_off();
}

void AddonEngine::check_device_trace(const Napi::CallbackInfo&) {
  open_engine("checkDeviceTrace").check_device_trace();
}

void AddonEngine::start_device_trace(const Napi::CallbackInfo&) {
  open_engine("startDeviceTrace").start_device_trace();
}

Napi::Value AddonEngine::take_device_trace(const Napi::CallbackInfo& info) {
  return to_object(info.Env(), open_engine("takeDeviceTrace").take_device_trace());
}

Napi::Value AddonEngine::finish_device_trace(const Napi::CallbackInfo& info) {
  return to_object(info.Env(), open_engine("finishDeviceTrace").finish_device_trace());
}

void AddonEngine::stop_device_trace(const Napi::CallbackInfo&) { open_engine("stopDeviceTrace").stop_device_trace(); }

void AddonEngine::close(const Napi::CallbackInfo&) {
  shut_down();
  if (pending_ > 0) Unref();
  pending_ = 0;
}

}  // namespace vitrine

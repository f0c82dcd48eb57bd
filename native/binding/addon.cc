// The module: what it was built as, what it runs on, and the Engine class. See src/native/addon.ts.
#include <napi.h>
#include <sched.h>

#include <fstream>
#include <future>
#include <string>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_adapter/cuda_library.h"
#include "binding/addon_engine.h"
#include "binding/value_reader.h"
#include "core/forward_batch_layout.h"
#include "core/memory_probe.h"
#include "core/processors.h"
#include "core/thread_pool.h"
#include "profiler/cuda_profiler.h"
#include "profiler/nvtx.h"

namespace vitrine {
namespace {

Napi::Value build_info(const Napi::CallbackInfo& info) {
  const auto isas = Napi::Array::New(info.Env());
  for (const CpuIsa isa : supported_cpu_isas()) isas.Set(isas.Length(), std::string(cpu_isa_name(isa)));
  const auto result = Napi::Object::New(info.Env());
  result.Set("version", VITRINE_VERSION);
  result.Set("compiler", VITRINE_COMPILER);
  result.Set("buildType", VITRINE_BUILD_TYPE);
  result.Set("sanitizer", VITRINE_SANITIZER_NAME);
  result.Set("layoutVersion", layout::kVersion);
  result.Set("cudaAbiVersion", VITRINE_CUDA_ABI_VERSION);
  result.Set("cpuIsas", isas);
  return result;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "x86-64 processor";
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  const auto cpu = Napi::Object::New(info.Env());
  cpu.Set("kind", "cpu");
  cpu.Set("name", processor_name());
  cpu.Set("threads", usable_processor_count());
  cpu.Set("totalBytes", static_cast<double>(MemoryProbe().total_bytes()));
  const auto result = Napi::Array::New(info.Env());
  result.Set(uint32_t{0}, cpu);
  return result;
}

Napi::Value cuda_devices(const Napi::CallbackInfo& info) {
  const CudaLibrary library(ValueReader(info[0], "library").string());
  const auto result = Napi::Array::New(info.Env());
  for (const VitrineCudaDevice& device : library.devices()) {
    const auto item = Napi::Object::New(info.Env());
    item.Set("kind", "cuda");
    item.Set("index", device.index);
    item.Set("name", device.name);
    item.Set("computeCapability", std::to_string(device.compute_major) + "." + std::to_string(device.compute_minor));
    item.Set("multiprocessors", device.multiprocessors);
    item.Set("driverVersion", device.driver_version);
    item.Set("runtimeVersion", device.runtime_version);
    item.Set("totalBytes", static_cast<double>(device.total_bytes));
    result.Set(result.Length(), item);
  }
  return result;
}

Napi::Value machine_limits(const Napi::CallbackInfo& info) {
  const double seconds = ValueReader(info[0], "seconds").positive_number();
  const int threads = info[1].IsUndefined() ? 0 : ValueReader(info[1], "threads").int32(0, 4096);
  // On a thread of its own: measuring pins its caller, and the JavaScript thread must stay free.
  const auto measure = [seconds, threads] {
    ThreadPool pool(threads);
    pool.pin_caller();
    return measure_cpu_limits(pool, seconds);
  };
  const CpuLimits limits = std::async(std::launch::async, measure).get();
  const auto result = Napi::Object::New(info.Env());
  result.Set("threads", limits.threads);
  result.Set("readBytesPerSecond", limits.read_bytes_per_second);
  result.Set("float32FlopsPerSecond", limits.float32_flops_per_second);
  result.Set("bfloat16FlopsPerSecond", limits.bfloat16_flops_per_second);
  return result;
}

/// The text is converted only where a tool listens.
void range_push(const Napi::CallbackInfo& info) {
  const ValueReader name(info[0], "name");
  if (!info[0].IsString()) name.reject("a string");
  if (nvtx::tool_attached()) nvtx::push(name.string().c_str());
}

void range_pop(const Napi::CallbackInfo&) { nvtx::pop(); }

/// SCHED_IDLE: unlike the lowest nice value it gives way at once when another thread wakes.
Napi::Value set_idle_priority(const Napi::CallbackInfo& info) {
  const sched_param none{};
  return Napi::Boolean::New(info.Env(), sched_setscheduler(0, SCHED_IDLE, &none) == 0);
}

void give_way(const Napi::CallbackInfo&) { sched_yield(); }

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("buildInfo", Napi::Function::New(env, build_info, "buildInfo"));
  exports.Set("devices", Napi::Function::New(env, devices, "devices"));
  exports.Set("cudaDevices", Napi::Function::New(env, cuda_devices, "cudaDevices"));
  exports.Set("machineLimits", Napi::Function::New(env, machine_limits, "machineLimits"));
  exports.Set("rangePush", Napi::Function::New(env, range_push, "rangePush"));
  exports.Set("rangePop", Napi::Function::New(env, range_pop, "rangePop"));
  exports.Set("cudaProfilerStart",
              Napi::Function::New(
                  env, [](const Napi::CallbackInfo&) { cuda_profiler_start(); }, "cudaProfilerStart"));
  exports.Set("cudaProfilerStop",
              Napi::Function::New(
                  env, [](const Napi::CallbackInfo&) { cuda_profiler_stop(); }, "cudaProfilerStop"));
  exports.Set("setIdlePriority", Napi::Function::New(env, set_idle_priority, "setIdlePriority"));
  exports.Set("giveWay", Napi::Function::New(env, give_way, "giveWay"));
  exports.Set("Engine", AddonEngine::define(env));
  return exports;
}

}  // namespace
}  // namespace vitrine

static Napi::Object initialize_module(Napi::Env env, Napi::Object exports) { return vitrine::initialize(env, exports); }

NODE_API_MODULE(vitrine, initialize_module)

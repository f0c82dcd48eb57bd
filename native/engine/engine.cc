// The engine thread and its life.
#include "engine/engine.h"

#include <pthread.h>

#include <exception>
#include <new>
#include <utility>

#include "core/check.h"
#include "model/weight_loader.h"

namespace vitrine {

Engine::Engine(EngineOptions options, StepListener listener)
    : spec_(std::move(options.spec)),
      threads_(options.threads),
      nvtx_markers_(options.nvtx_markers),
      make_backend_(std::move(options.make_backend)),
      listener_(std::move(listener)) {
  std::promise<void> started;
  std::future<void> result = started.get_future();
  thread_ = std::thread([this, &started] { thread_main(started); });
  try {
    result.get();
  } catch (...) {
    close();
    throw;
  }
}

void Engine::thread_main(std::promise<void>& started) {
  pthread_setname_np(pthread_self(), "vitrine-engine");
  try {
    pool_ = std::make_unique<ThreadPool>(threads_);
    pool_->pin_caller();
    tracer_ = std::make_unique<Tracer>(*pool_, nvtx_markers_);
    backend_ = make_backend_(*pool_);
    started.set_value();
  } catch (...) {
    started.set_exception(std::current_exception());
  }
  while (auto item = queue_.pop()) {
    if (item->task) {
      item->task();
    } else {
      run_step(std::move(item->step));
    }
  }
  if (tracer_ != nullptr && tracer_->device_trace() != nullptr) backend_->activities()->stop();
  runner_.reset();
  weights_.reset();
  backend_.reset();
  tracer_.reset();
  pool_.reset();
}

void Engine::run_step(std::unique_ptr<Step> step) {
  if (death_.empty()) {
    try {
      runner_->run(*step);
    } catch (const std::exception& thrown) {
      step->error = thrown.what();
    } catch (...) {
      step->error = "unknown exception";
    }
    if (!step->error.empty()) death_ = "the engine is dead since a step failed: " + step->error;
  } else {
    step->error = death_;
  }
  listener_(std::move(step));
}

void Engine::call(const char* what, const std::function<void()>& task) {
  std::promise<void> done;
  const bool queued = queue_.push({nullptr, [&] {
                                     try {
                                       task();
                                       done.set_value();
                                     } catch (...) {
                                       done.set_exception(std::current_exception());
                                     }
                                   }});
  require(queued, what, ": the engine is closed");
  done.get_future().get();
}

void Engine::load_weights(const LoadPlan& plan) {
  require(!has_weights_, "loadWeights: the weights are loaded already");
  call("loadWeights", [&] {
    weights_ = vitrine::load_weights(spec_, plan, *backend_, *pool_);
    memory_.weight_bytes = weights_->bytes();
    const KvLayer shape{nullptr, nullptr, spec_.dtype, 0, 0, spec_.num_kv_heads, spec_.head_dim};
    memory_.kv_bytes_per_token = PagedKvCache::bytes_per_token(spec_.num_layers(), shape);
  });
  has_weights_ = true;
}

void Engine::init_cache(const CacheConfig& config) {
  require(has_weights_ || closed(), "initCache: call loadWeights first");
  require(!has_cache_, "initCache: the cache is there already");
  require(int64_t{config.num_blocks} * config.block_size <= INT32_MAX, "initCache: expected at most ", INT32_MAX,
          " tokens (numBlocks * blockSize), got ", int64_t{config.num_blocks} * config.block_size);
  const auto wanted =
      memory_.kv_bytes_per_token * static_cast<size_t>(config.num_blocks) * static_cast<size_t>(config.block_size);
  require(!closed(), "initCache: the engine is closed");
  const size_t available = available_bytes();
  require(wanted <= available, "initCache: the KV cache of ", config.num_blocks, " blocks of ", config.block_size,
          " tokens takes ", wanted, " bytes, but only ", available, " are available; ask for fewer blocks");
  call("initCache", [&] {
    try {
      runner_ = std::make_unique<ModelRunner>(spec_, *weights_, *backend_, *pool_, *tracer_, config);
    } catch (const std::bad_alloc&) {
      fail("initCache: no memory for the KV cache (", wanted, " bytes) and the workspaces of ", config.max_batch_tokens,
           " tokens; ask for less");
    }
    memory_.kv_cache_bytes = runner_->kv_cache_bytes();
    memory_.workspace_bytes = runner_->workspace_bytes();
    span_tables_ = tracer_->tables();
  });
  has_cache_ = true;
}

const SpanTables& Engine::span_tables() const {
  require(has_cache_, "spanTables: call loadWeights and initCache first");
  return span_tables_;
}

DeviceActivities& Engine::activities() const {
  DeviceActivities* activities = closed() ? nullptr : backend_->activities();
  require(activities != nullptr, "the ", closed() ? "closed engine" : backend_->name(), " tells nothing of its work");
  return *activities;
}

void Engine::check_device_trace() {
  if (tracer_->device_trace() != nullptr) return;
  activities().start();
  activities().stop();
}

void Engine::start_device_trace() {
  require(has_cache_, "startDeviceTrace: call loadWeights and initCache first");
  activities().start();
  call("startDeviceTrace", [&] { tracer_->start_device_trace(activities()); });
}

DeviceTraceBatch Engine::take_device_trace() {
  DeviceTrace* trace = closed() ? nullptr : tracer_->device_trace();
  return trace == nullptr ? DeviceTraceBatch{} : trace->take(false);
}

DeviceTraceBatch Engine::finish_device_trace() {
  DeviceTrace* trace = closed() ? nullptr : tracer_->device_trace();
  if (trace == nullptr) return {};
  call("finishDeviceTrace", [&] {
    backend_->synchronize();
    activities().flush();
  });
  return trace->take(true);
}

void Engine::stop_device_trace() {
  if (closed() || tracer_->device_trace() == nullptr) return;
  call("stopDeviceTrace", [&] { tracer_->stop_device_trace(); });
  activities().stop();
}

void Engine::submit(std::unique_ptr<Step> step) {
  require(has_cache_ || closed(), "submit: call loadWeights and initCache first");
  step->error.clear();
  step->spans.clear();
  require(queue_.push({std::move(step), nullptr}), "submit: the engine is closed");
}

void Engine::close() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

}  // namespace vitrine

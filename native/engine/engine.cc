// The engine thread and its life.
#include "engine/engine.h"

#include <pthread.h>

#include <exception>
#include <new>
#include <utility>

#include "core/check.h"
#include "core/placement.h"
#include "model/weight_loader.h"

namespace vitrine {
namespace {

size_t mib(size_t bytes) { return bytes >> 20; }

/// What `body` throws, in words; empty: nothing.
template <class Body>
std::string error_of(Body body) {
  try {
    body();
    return {};
  } catch (const std::exception& thrown) {
    return thrown.what();
  } catch (...) {
    return "unknown exception";
  }
}

}  // namespace

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
  pthread_setname_np(pthread_self(), kEngineThreadName);
  try {
    {
      const PlacementLock lock;  // until all threads are where they are to be, so that the next engine sees them
      pool_ = std::make_unique<ThreadPool>(threads_);
      pool_->pin_caller();
    }
    tracer_ = std::make_unique<Tracer>(*pool_, nvtx_markers_);
    backend_ = make_backend_(*pool_);
    started.set_value();
  } catch (...) {
    started.set_exception(std::current_exception());
  }
  const auto oldest_done = [this] { return runner_->step_done(); };
  const auto next_item = [&] {
    prepare_ahead();
    return launched_.empty() ? queue_.pop() : queue_.pop_unless(oldest_done);
  };
  while (auto item = next_item()) {
    if (item->task) {
      item->task();
    } else if (item->step) {
      launch(std::move(item->step));
    } else {
      finish_oldest();
    }
  }
  finish_all();
  if (tracer_ != nullptr && tracer_->device_trace() != nullptr) backend_->activities()->stop();
  runner_.reset();
  weights_.reset();
  backend_.reset();
  tracer_.reset();
  pool_.reset();
}

void Engine::prepare_ahead() {
  if (runner_ == nullptr || !launched_.empty()) return;
  while (runner_->prepare_ahead() && !queue_.ready()) {  // once even if a step waits: it may be one of many
  }
}

void Engine::launch(std::unique_ptr<Step> step) {
  if (ModelRunner::needs_finished(*step)) finish_all();
  std::string error;
  if (death_.empty()) {
    error = error_of([&] { runner_->launch(*step); });
    if (error.empty()) {
      launched_.push_back(std::move(step));
      while (launched_.size() >= runner_->most_launched()) finish_oldest();
      return;
    }
  }
  finish_all();  // what was launched before comes back before it, and is none the worse for it
  give_back(std::move(step), error);
}

void Engine::finish_oldest() {
  std::unique_ptr<Step> step = std::move(launched_.front());
  launched_.pop_front();
  std::string error;
  if (death_.empty()) error = error_of([&] { runner_->finish(*step); });
  give_back(std::move(step), error);
}

void Engine::give_back(std::unique_ptr<Step> step, const std::string& error) {
  if (!death_.empty()) {
    step->error = death_;
  } else if (!error.empty()) {
    step->error = error;
    death_ = "the engine is dead since a step failed: " + error;
  }
  listener_(std::move(step));
}

void Engine::finish_all() {
  while (!launched_.empty()) finish_oldest();
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

WeightOrigin Engine::load_weights(const LoadPlan& plan) {
  require(!has_weights_, "loadWeights: the weights are loaded already");
  WeightOrigin origin;
  call("loadWeights", [&] {
    try {
      weights_ = vitrine::load_weights(spec_, plan, *backend_, *pool_);
    } catch (const OutOfMemory& error) {
      throw OutOfMemory(sentence("loadWeights: ", error.what(), "; ", mib(available_bytes()), " MiB are free"));
    }
    origin = weights_->origin;
    memory_.weight_bytes = weights_->bytes();
    const KvLayer shape{nullptr, nullptr, spec_.kv_cache.dtype, 0, 0, spec_.num_kv_heads, spec_.head_dim};
    memory_.kv_bytes_per_token = PagedKvCache::bytes_per_token(spec_.num_layers(), shape);
  });
  has_weights_ = true;
  return origin;
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
  if (wanted > available) {
    throw OutOfMemory(sentence("initCache: out of memory: the KV cache of ",
                               int64_t{config.num_blocks} * config.block_size, " tokens takes ", mib(wanted),
                               " MiB, but only ", mib(available), " MiB are free"));
  }
  call("initCache", [&] {
    const auto refuse = [&](const char* why) {
      throw OutOfMemory(sentence("initCache: out of memory (", why, "): beside the weights (",
                                 mib(memory_.weight_bytes), " MiB), ", mib(available),
                                 " MiB were free; the KV cache of ", int64_t{config.num_blocks} * config.block_size,
                                 " tokens takes ", mib(wanted), " MiB of them, which leaves ", mib(available - wanted),
                                 " MiB, too little for the workspaces of steps of up to ", config.max_batch_tokens,
                                 " tokens and ", config.max_requests, " requests"));
    };
    try {
      runner_ = std::make_unique<ModelRunner>(spec_, *weights_, *backend_, *pool_, *tracer_, config);
    } catch (const std::bad_alloc& error) {
      refuse(error.what());
    } catch (const OutOfMemory& error) {
      refuse(error.what());
    }
    memory_.kv_cache_bytes = runner_->kv_cache_bytes();
    memory_.workspace_bytes = runner_->workspace_bytes();
    memory_.graphs = runner_->graph_cost();
    span_tables_ = tracer_->tables();
  });
  has_cache_ = true;
}

const SpanTables& Engine::span_tables() const {
  require(has_cache_, "spanTables: call loadWeights and initCache first");
  return span_tables_;
}

void Engine::keep_caller_off() {
  require(!closed(), "keepThreadOff: the engine is closed");
  pool_->keep_off_caller();
}

DeviceActivities& Engine::activities() const {
  DeviceActivities* activities = closed() ? nullptr : backend_->activities();
  require(activities != nullptr, "the ", closed() ? "closed engine" : backend_->name(), " tells nothing of its work");
  return *activities;
}

void Engine::check_device_trace() {
  DeviceActivities& device = activities();
  if (tracer_->device_trace() != nullptr) return;
  device.start();  // not on the engine thread: the recorder's own would inherit its one processor
  call("checkDeviceTrace", [&] {
    finish_all();  // see stop_device_trace()
    device.stop();
  });
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
  DeviceTraceBatch batch;
  call("finishDeviceTrace", [&] {  // between launches: no step is added whose work is not told
    finish_all();                  // synchronize() takes what launched steps have for the host
    backend_->synchronize();
    activities().flush();
    batch = trace->take(true);
  });
  return batch;
}

void Engine::stop_device_trace() {
  if (closed() || tracer_->device_trace() == nullptr) return;
  call("stopDeviceTrace", [&] {
    tracer_->stop_device_trace();
    finish_all();  // buffers are taken from the recorder: nothing may be under way that it would still write there
    activities().stop();
  });
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

// The engine: one thread that owns backend, weights, KV cache and slots, and runs steps in the order of submission.
// Where the backend queues steps, the next one is launched before the last one's tokens are waited for.
// All public functions are called by one thread (JavaScript's); the listener is called by the engine thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "backend/backend.h"
#include "core/thread_pool.h"
#include "engine/model_runner.h"
#include "engine/step.h"
#include "engine/step_queue.h"
#include "model/load_plan.h"
#include "model/model_spec.h"
#include "model/weights.h"
#include "profiler/tracer.h"

namespace vitrine {

struct EngineOptions {
  ModelSpec spec;
  int threads = 0;  ///< as ThreadPool
  std::function<std::unique_ptr<Backend>(ThreadPool&)> make_backend;
  bool nvtx_markers = false;  ///< a range for every module, every step
};

struct EngineMemory {
  size_t weight_bytes = 0;
  size_t kv_cache_bytes = 0;
  size_t workspace_bytes = 0;
  size_t kv_bytes_per_token = 0;
  GraphCost graphs;
};

class Engine {
 public:
  /// Gets each step back, in order, with its output or its error. Called by the engine thread; must not throw.
  using StepListener = std::function<void(std::unique_ptr<Step>)>;

  /// Starts the thread and the backend; throws what the backend throws.
  Engine(EngineOptions options, StepListener listener);
  ~Engine() { close(); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Blocks. Once; an engine whose load failed may try again. Throws OutOfMemory when the device is full,
  /// WeightCacheLocked as load_weights().
  WeightOrigin load_weights(const LoadPlan& plan);
  /// Blocks. Once, after load_weights. No step allocates device memory afterwards. Throws OutOfMemory with the numbers
  /// when the device has no room for all that steps need.
  void init_cache(const CacheConfig& config);
  /// Queues a step. After a step has failed the engine is dead: every later step comes back with that error.
  void submit(std::unique_ptr<Step> step);
  const EngineMemory& memory() const { return memory_; }
  /// Bytes that the backend may still allocate. Not after close().
  size_t available_bytes() const { return backend_->available_bytes(); }
  /// What the records of steps refer to; after init_cache.
  const SpanTables& span_tables() const;
  /// Keeps the calling thread off the engine thread's processor; see ThreadPool::keep_off_caller.
  void keep_caller_off();

  /// Null where the backend has no graphs. After init_cache, until close(); they never change.
  const GraphRunner* graphs() const { return has_cache_ && !closed() ? runner_->graphs() : nullptr; }

  // --- what the device does in recorded steps; on a backend with activities() ------------------------------------
  /// Throws Error with the reason why it cannot be recorded here. Blocks for the steps that are queued.
  void check_device_trace();
  /// From the next step on. Blocks for the steps that are queued; throws as check_device_trace().
  void start_device_trace();
  /// What is known so far of recorded steps; nothing while little waits.
  DeviceTraceBatch take_device_trace();
  /// All that is left. Blocks for the steps that are queued.
  DeviceTraceBatch finish_device_trace();
  /// Blocks likewise.
  void stop_device_trace();

  /// Waits for the launched steps, drops the queued ones (the listener never sees them), frees everything. Idempotent.
  void close();
  bool closed() const { return !thread_.joinable(); }

 private:
  void thread_main(std::promise<void>& started);
  /// Between steps: what later ones would wait for, until the next is there; a bounded part of it if it is there
  /// already.
  void prepare_ahead();
  void launch(std::unique_ptr<Step> step);
  void finish_oldest();
  void finish_all();
  /// `error`: why it failed, unless it did not; then the engine is dead.
  void give_back(std::unique_ptr<Step> step, const std::string& error);
  DeviceActivities& activities() const;
  /// Runs it on the engine thread and waits; rethrows what it throws.
  void call(const char* what, const std::function<void()>& task);

  const ModelSpec spec_;
  const int threads_;
  const bool nvtx_markers_;
  const std::function<std::unique_ptr<Backend>(ThreadPool&)> make_backend_;
  const StepListener listener_;
  StepQueue queue_;
  EngineMemory memory_;     ///< written while call() waits
  SpanTables span_tables_;  ///< likewise
  bool has_weights_ = false;
  bool has_cache_ = false;

  // Of the engine thread alone, but for what is said to be of any thread; destroyed by it, in reverse order.
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Tracer> tracer_;
  std::unique_ptr<Backend> backend_;
  std::optional<Weights> weights_;
  std::unique_ptr<ModelRunner> runner_;
  std::deque<std::unique_ptr<Step>> launched_;  ///< oldest first
  std::string death_;                           ///< why the engine is dead

  std::thread thread_;
};

}  // namespace vitrine

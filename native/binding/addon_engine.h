// The Engine class that JavaScript sees: checks arguments, carries buffers across, delivers steps to onStep. All of it
// runs on the JavaScript thread of one Node environment, but for the call that announces a finished step.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "binding/span_view.h"
#include "engine/engine.h"

namespace vitrine {

class AddonEngine : public Napi::ObjectWrap<AddonEngine> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit AddonEngine(const Napi::CallbackInfo& info);
  ~AddonEngine() override { shut_down(); }

 private:
  static void deliver(Napi::Env env, Napi::Function callback, AddonEngine* self, Step* step);
  using Announcer = Napi::TypedThreadSafeFunction<AddonEngine, Step, deliver>;

  Napi::Value load_weights(const Napi::CallbackInfo& info);
  void init_cache(const Napi::CallbackInfo& info);
  void submit(const Napi::CallbackInfo& info);
  Napi::Value memory_info(const Napi::CallbackInfo& info);
  Napi::Value span_tables(const Napi::CallbackInfo& info);
  void keep_thread_off(const Napi::CallbackInfo& info);
  Napi::Value captured_graphs(const Napi::CallbackInfo& info);
  void check_device_trace(const Napi::CallbackInfo& info);
  void start_device_trace(const Napi::CallbackInfo& info);
  Napi::Value take_device_trace(const Napi::CallbackInfo& info);
  Napi::Value finish_device_trace(const Napi::CallbackInfo& info);
  void stop_device_trace(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  static void at_environment_end(void* self);
  Engine& open_engine(const char* function) const;
  void shut_down();
  std::unique_ptr<Step> take_step();
  void keep_step(std::unique_ptr<Step> step);
  void count_pending(Napi::Env env, int change);

  std::unique_ptr<Engine> engine_;
  Announcer announcer_;
  napi_env env_;
  int pending_ = 0;                          ///< steps submitted and not delivered; while there are some, Node stays
  std::vector<std::unique_ptr<Step>> idle_;  ///< buffers for the next steps
  SpanView span_view_;
};

}  // namespace vitrine

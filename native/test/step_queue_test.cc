// The queue between the threads, and the engine that lives on it.
#include "engine/step_queue.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/check.h"
#include "engine/engine.h"
#include "reference_backend.h"
#include "test_framework.h"
#include "tiny_model.h"

namespace vitrine::test {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Step> step_with(int32_t word) {
  auto step = std::make_unique<Step>();
  step->batch = {word};
  return step;
}

/// Keeps what the engine gives back.
struct Results {
  std::mutex mutex;
  std::vector<std::unique_ptr<Step>> steps;

  Engine::StepListener listener() {
    return [this](std::unique_ptr<Step> step) {
      const std::lock_guard lock(mutex);
      steps.push_back(std::move(step));
    };
  }
  size_t count() {
    const std::lock_guard lock(mutex);
    return steps.size();
  }
  void wait_for(size_t wanted) {
    while (count() < wanted) std::this_thread::sleep_for(100us);
  }
};

EngineOptions tiny_options() {
  return {tiny_spec(), 2, [](ThreadPool&) { return make_reference_backend(); }};
}

std::unique_ptr<Step> prefill_step() {
  auto step = std::make_unique<Step>();
  step->batch = forward_batch_words({{0, 0, {1, 2, 3}, {0}, layout::kFlagResetSlot, {2}}}, 4);
  return step;
}

}  // namespace

TEST("step_queue: in order, from a sleeping and from a busy consumer") {
  StepQueue queue;
  std::vector<int32_t> seen;
  std::atomic<int> taken = 0;
  std::thread consumer([&] {
    while (auto item = queue.pop()) {
      seen.push_back(item->step->batch[0]);
      if (seen.size() % 50 == 0) std::this_thread::sleep_for(200us);
      ++taken;
    }
  });
  for (int32_t i = 0; i < 400; ++i) {
    CHECK(queue.push({step_with(i), nullptr}));
    if (i % 100 == 99) std::this_thread::sleep_for(2ms);
  }
  while (taken < 400) std::this_thread::sleep_for(100us);  // close() would drop what is queued
  queue.close();
  consumer.join();
  CHECK_EQ(seen.size(), size_t{400});
  for (int32_t i = 0; i < 400; ++i) CHECK_EQ(seen[static_cast<size_t>(i)], i);
}

TEST("step_queue: a consumer with something else to wait for gets what comes first") {
  StepQueue queue;
  std::atomic<bool> done = false;
  const auto is_done = [&] { return done.load(); };
  CHECK(queue.push({step_with(1), nullptr}));
  done = true;
  CHECK_EQ(queue.pop_unless(is_done)->step->batch[0], 1);  // what is queued goes before
  const auto nothing = queue.pop_unless(is_done);
  CHECK(nothing.has_value() && nothing->step == nullptr && !nothing->task);
  // Each comes when the polling is over.
  const auto meanwhile = [](const std::function<void()>& event) {
    return std::thread([event] {
      std::this_thread::sleep_for(5ms);
      event();
    });
  };
  done = false;
  std::thread other = meanwhile([&] { CHECK(queue.push({step_with(2), nullptr})); });
  CHECK_EQ(queue.pop_unless(is_done)->step->batch[0], 2);
  other.join();
  other = meanwhile([&] { done = true; });
  CHECK(queue.pop_unless(is_done)->step == nullptr);
  other.join();
  done = false;
  other = meanwhile([&] { queue.close(); });
  CHECK(!queue.pop_unless(is_done).has_value());
  other.join();
}

TEST("step_queue: close drops, refuses and wakes") {
  StepQueue queue;
  CHECK(queue.push({step_with(1), nullptr}));
  queue.close();
  CHECK(!queue.pop().has_value());
  CHECK(!queue.push({step_with(2), nullptr}));

  StepQueue sleeping;
  std::thread consumer([&] { CHECK(!sleeping.pop().has_value()); });
  std::this_thread::sleep_for(5ms);
  sleeping.close();
  consumer.join();
}

TEST("engine: steps come back in order; after a failure all of them carry its error") {
  Results results;
  Engine engine(tiny_options(), results.listener());
  engine.load_weights(dummy_plan(tiny_spec(), 3));
  engine.init_cache({8, 4, 4, 16, 32});
  for (int i = 0; i < 5; ++i) engine.submit(prefill_step());
  engine.submit(step_with(0));
  engine.submit(prefill_step());
  results.wait_for(7);
  engine.submit(prefill_step());
  results.wait_for(8);
  engine.close();
  for (size_t i = 0; i < 5; ++i) {
    CHECK(results.steps[i]->error.empty());
    CHECK(output_ints(results.steps[i]->output, layout::OutputSection::kSampledIds) ==
          output_ints(results.steps[0]->output, layout::OutputSection::kSampledIds));
  }
  CHECK_EQ(results.steps[5]->error, std::string("ForwardBatch: expected at least 96 words of header, got 1"));
  for (size_t i = 6; i < 8; ++i) {
    CHECK_EQ(results.steps[i]->error, "the engine is dead since a step failed: " + results.steps[5]->error);
  }
}

TEST("engine: close while steps run, many times") {
  for (int round = 0; round < 30; ++round) {
    Results results;
    Engine engine(tiny_options(), results.listener());
    engine.load_weights(dummy_plan(tiny_spec(), 3));
    engine.init_cache({8, 4, 4, 16, 32});
    for (int i = 0; i < 20; ++i) engine.submit(prefill_step());
    if (round % 3 == 0) results.wait_for(static_cast<size_t>(round % 7));
    engine.close();
    engine.close();
    const size_t count = results.count();
    CHECK(count <= 20);
    CHECK_THROWS_WITH(engine.submit(prefill_step()), "the engine is closed");
    CHECK_EQ(results.count(), count);
  }
}

TEST("engine: a backend that cannot start is an error of the constructor") {
  EngineOptions options = tiny_options();
  options.make_backend = [](ThreadPool&) -> std::unique_ptr<Backend> { fail("no such device"); };
  CHECK_THROWS_WITH(Engine(std::move(options), [](std::unique_ptr<Step>) {}), "no such device");
}

}  // namespace vitrine::test

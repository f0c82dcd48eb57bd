// Polling, then sleeping, on the engine's queue.
#include "engine/step_queue.h"

#include <chrono>
#include <thread>
#include <utility>

#include "core/clock.h"

namespace vitrine {
namespace {

constexpr int64_t kPollNs = 60'000;
constexpr int kPollsPerYield = 32;
constexpr std::chrono::microseconds kNap(30);

void relax() { __builtin_ia32_pause(); }

}  // namespace

bool StepQueue::push(Item item) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    items_.push_back(std::move(item));
    ready_.store(true, std::memory_order_release);
    wake = sleeping_;
  }
  if (wake) changed_.notify_one();
  return true;
}

std::optional<StepQueue::Item> StepQueue::pop_unless(const std::function<bool()>& stop) {
  // Yielding between polls leaves the core to the JavaScript thread when it has no other.
  for (const int64_t give_up = monotonic_ns() + kPollNs; !ready_.load(std::memory_order_acquire);) {
    if (stop && stop()) return Item{};
    for (int i = 0; i < kPollsPerYield && !ready_.load(std::memory_order_relaxed); ++i) relax();
    if (monotonic_ns() > give_up) break;
    std::this_thread::yield();
  }
  std::unique_lock lock(mutex_);
  sleeping_ = true;
  const auto ready = [this] { return closed_ || !items_.empty(); };
  if (!stop) {
    changed_.wait(lock, ready);
  } else {
    while (!changed_.wait_for(lock, kNap, ready) && !stop()) {
    }
  }
  sleeping_ = false;
  if (closed_) return std::nullopt;
  if (items_.empty()) return Item{};
  Item item = std::move(items_.front());
  items_.pop_front();
  ready_.store(!items_.empty(), std::memory_order_release);
  return item;
}

void StepQueue::close() {
  std::deque<Item> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    ready_.store(true, std::memory_order_release);
    dropped.swap(items_);
  }
  changed_.notify_all();
}

}  // namespace vitrine

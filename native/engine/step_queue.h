// The way from the JavaScript thread to the engine thread: steps and start-up tasks, first in first out.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "engine/step.h"

namespace vitrine {

class StepQueue {
 public:
  /// Exactly one of the two is set.
  struct Item {
    std::unique_ptr<Step> step;
    std::function<void()> task;
  };

  /// Returns false, and keeps nothing, when the queue is closed.
  bool push(Item item);

  /// Something is queued, or the queue is closed: pop() will not wait.
  bool ready() const { return ready_.load(std::memory_order_acquire); }
  /// The next item; waits for it, nullopt once closed. A waking thread costs tens of microseconds, so it first polls
  /// for about that long: steps that follow each other closely never pay for a wake-up.
  std::optional<Item> pop() { return pop_unless(nullptr); }
  /// As pop(), but gives up, with an item that has nothing set, when nothing is queued and `stop()` says so. Asks it
  /// between polls, and every few tens of microseconds when polling has taken long.
  std::optional<Item> pop_unless(const std::function<bool()>& stop);

  /// Drops what is queued; from now on pop() ends and push() refuses.
  void close();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;
  bool closed_ = false;
  bool sleeping_ = false;
  std::atomic<bool> ready_{false};  ///< closed or not empty; what pop() polls
};

}  // namespace vitrine

// A backend that queues its ops, as a GPU does, and has another one do them later: a step's ops run when the step is
// finished, not before, so that whoever reads a result too early, or changes an operand too early, gets what is wrong.
// Graphs are lists of ops that are queued again.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace vitrine::test {

/// What a QueuedBackend was asked to do, for the test's thread; and when it says that a step is done.
class QueueLog {
 public:
  /// "launch 1", "copy", "replay", "read", "finish 1", …: steps numbered from 1 by begin_step().
  void add(std::string event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  std::vector<std::string> events() const {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  size_t count(const std::string& event) const;

  /// Steps say that they are not done before someone waits for them.
  std::atomic<bool> busy = false;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> events_;
};

/// `device` does the ops; it must be done with each on return.
std::unique_ptr<Backend> make_queued_backend(std::unique_ptr<Backend> device, std::shared_ptr<QueueLog> log);

}  // namespace vitrine::test

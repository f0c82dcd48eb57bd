// The pool's protocol. A job is open from run()'s publication until run() has claimed its last index; a worker may
// touch the job only between `active += 1` with the job still open and `active -= 1`, so that run() never waits for a
// worker that sleeps, only for those that hold an index.
#include "core/thread_pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <exception>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/clock.h"
#include "core/placement.h"
#include "core/processors.h"

namespace vitrine {
namespace {

constexpr auto kWorkerSpin = std::chrono::microseconds(60);  // bridges the serial ops between two parallel ones
constexpr auto kJoinSpin = std::chrono::microseconds(100);
constexpr int kPausesPerClockRead = 32;
constexpr uint32_t kWaiter = 1U << 31;  // in `active`: the caller sleeps until the count is 0

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

/// Waits for `done()` with pauses for at most `limit`; returns whether it came true.
template <class Done>
bool spin_until(std::chrono::microseconds limit, Done done) {
  if (done()) return true;
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      _mm_pause();
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

/// The calling thread runs on these alone. Best effort: a container may forbid it.
void restrict_this_thread(const std::vector<int>& processors) {
  const size_t count = static_cast<size_t>(*std::max_element(processors.begin(), processors.end())) + 1;
  cpu_set_t* set = CPU_ALLOC(count);
  const size_t bytes = CPU_ALLOC_SIZE(count);
  CPU_ZERO_S(bytes, set);
  for (const int processor : processors) CPU_SET_S(static_cast<size_t>(processor), bytes, set);
  sched_setaffinity(0, bytes, set);
  CPU_FREE(set);
}

void pin_this_thread(int processor) { restrict_this_thread({processor}); }

}  // namespace

struct ThreadPool::State {
  // Words written by different threads lie on different cache lines.
  alignas(64) std::atomic<uint32_t> epoch{0};  // jobs published; futex of parked workers
  std::atomic<bool> open{false};
  std::atomic<bool> stop{false};
  alignas(64) std::atomic<uint32_t> sleepers{0};
  alignas(64) std::atomic<uint32_t> active{0};  // workers inside the job, and kWaiter; futex of the caller
  alignas(64) std::atomic<int64_t> next{0};

  alignas(64) void (*task)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t count = 0;
  Observer* observer = nullptr;
  std::atomic<bool> failed{false};
  std::exception_ptr failure;

  std::vector<int> processors;  ///< that may be used; of a pinned pool the first is the caller's, the next the workers'
  bool pinned = false;
  std::vector<std::thread> threads;
  std::vector<Worker> workers;
  std::optional<std::latch> started;  // every worker has its tid

  /// Returns whether there was an index left.
  bool claim_all() {
    for (bool any = false;; any = true) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) return any;
      try {
        task(context, index);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  }

  void claim_observed(int worker) {
    const int64_t begin_ns = monotonic_ns();
    if (claim_all()) observer->worked(worker, begin_ns, monotonic_ns());
  }

  void take_part(int worker) {
    active.fetch_add(1);
    if (open.load()) {
      if (observer == nullptr) {
        claim_all();
      } else {
        claim_observed(worker);
      }
    }
    if (active.fetch_sub(1) == (kWaiter | 1U)) futex_wake(active, 1);
  }

  void park(uint32_t seen) {
    sleepers.fetch_add(1);
    if (epoch.load() == seen && !stop.load()) futex_wait(epoch, seen);
    sleepers.fetch_sub(1);
  }

  void work(int index) {
    if (pinned) pin_this_thread(processors[static_cast<size_t>(index) + 1]);
    Worker& self = workers[static_cast<size_t>(index)];
    self.tid = static_cast<int>(syscall(SYS_gettid));
    pthread_setname_np(pthread_self(), self.name.c_str());
    started->count_down();
    uint32_t seen = 0;
    while (!stop.load()) {
      if (epoch.load() == seen && !spin_until(kWorkerSpin, [&] { return epoch.load() != seen || stop.load(); })) {
        park(seen);
        continue;
      }
      seen = epoch.load();
      take_part(index);
    }
  }

  void join_job() {
    const auto idle = [this] { return (active.load() & ~kWaiter) == 0; };
    while (!spin_until(kJoinSpin, idle)) {
      const uint32_t before = active.fetch_or(kWaiter);
      if ((before & ~kWaiter) != 0) futex_wait(active, before | kWaiter);
    }
    active.fetch_and(~kWaiter);
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  require(threads >= 0 && threads <= 4096, "thread count must be between 0 and 4096, got ", threads);
  state_->processors = allowed_processors();
  if (threads == 0) threads = usable_processor_count();
  // More threads than processors: let the kernel place them, two pinned to one core would wait for each other.
  state_->pinned = threads <= static_cast<int>(state_->processors.size());
  const int workers = std::max(threads, 1) - 1;
  // 15 characters, the most of a kernel thread's name, hold every number up to 4095.
  for (int i = 0; i < workers; ++i) state_->workers.push_back({0, kWorkerThreadName + std::to_string(i + 1)});
  state_->started.emplace(workers);
  if (state_->pinned) {
    state_->processors = least_loaded_first(std::move(state_->processors), pinned_engine_threads());
  }
  try {
    for (int i = 0; i < workers; ++i) state_->threads.emplace_back([state = state_.get(), i] { state->work(i); });
  } catch (...) {
    stop();
    throw;
  }
  state_->started->wait();
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  state_->stop.store(true);
  state_->epoch.fetch_add(1);
  futex_wake(state_->epoch, INT_MAX);
  for (std::thread& thread : state_->threads) thread.join();
  state_->threads.clear();
}

int ThreadPool::size() const { return static_cast<int>(state_->workers.size()) + 1; }

const std::vector<ThreadPool::Worker>& ThreadPool::workers() const { return state_->workers; }

void ThreadPool::observe(Observer* observer) { state_->observer = observer; }

void ThreadPool::pin_caller() {
  if (state_->pinned) pin_this_thread(state_->processors.front());
}

void ThreadPool::keep_off_caller() {
  const std::vector<int>& processors = state_->processors;
  if (state_->pinned && processors.size() > 1) restrict_this_thread({processors.begin() + 1, processors.end()});
}

void ThreadPool::run(int64_t count, void (*task)(void* context, int64_t index), void* context) {
  State& state = *state_;
  state.task = task;
  state.context = context;
  state.count = count;
  state.failed.store(false, std::memory_order_relaxed);
  state.next.store(0, std::memory_order_relaxed);
  state.open.store(true);
  state.epoch.fetch_add(1);
  if (state.sleepers.load() != 0) {
    futex_wake(state.epoch, static_cast<int>(std::min<int64_t>(count - 1, INT_MAX)));
  }
  state.claim_all();
  state.open.store(false);
  state.join_job();
  if (state.failed.load(std::memory_order_relaxed)) std::rethrow_exception(std::exchange(state.failure, nullptr));
}

}  // namespace vitrine

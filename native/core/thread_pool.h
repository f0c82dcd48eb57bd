// Persistent, pinned worker threads that share loops with the engine thread. Workers spin briefly, then park: an idle
// engine uses no CPU. Some kernels pack new threads onto one core, so every thread is pinned where allowed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace vitrine {

class ThreadPool {
 public:
  /// `threads` includes the caller of parallel_for; 0 = processors this process may use (affinity mask and cgroup CPU
  /// quota). The calling thread of parallel_for takes part and is pinned by pin_caller().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Hears, on the worker's thread, of every loop that the worker took an index of; must not throw.
  class Observer {
   public:
    virtual void worked(int worker, int64_t begin_ns, int64_t end_ns) = 0;

   protected:
    ~Observer() = default;
  };

  struct Worker {
    int tid = 0;  ///< the kernel's
    std::string name;
  };

  int size() const;
  /// The threads besides the caller's, size() - 1 of them; Observer counts them from 0.
  const std::vector<Worker>& workers() const;
  /// For the loops from now on; null: nobody. Called by the thread that calls parallel_for.
  void observe(Observer* observer);
  /// Pins the calling thread to the pool's first processor; call it once from the thread that will call parallel_for.
  void pin_caller();
  /// Keeps the calling thread, another one, off the processor of pin_caller() where there is a second one. Where both
  /// want it, that of parallel_for would stand still with all workers waiting for it. Processes and threads that the
  /// calling one starts afterwards inherit this, and if it is the main thread, later pools of the process see one
  /// processor less.
  void keep_off_caller();

  /// Runs task(index) for index in [0, count), each once, on any thread; returns when all are done. Not reentrant; one
  /// caller at a time. The first exception thrown by a task is rethrown here after all have finished.
  void run(int64_t count, void (*task)(void* context, int64_t index), void* context);

  template <class Task>
  void parallel_for(int64_t count, Task&& task) {
    if (count <= 0) return;
    if (count == 1 || size() == 1) {
      for (int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    using Body = std::remove_reference_t<Task>;
    run(
        count, [](void* context, int64_t index) { (*static_cast<Body*>(context))(index); },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

 private:
  struct State;

  void stop();

  std::unique_ptr<State> state_;
};

}  // namespace vitrine

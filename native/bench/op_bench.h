// What the op families of kernel_bench share: inputs in the device's memory, timing, and the line that is printed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "bench/subject.h"

namespace vitrine::bench {

struct BenchOptions {
  std::string filter;       ///< part of the names of the cases to run
  bool test_cases = false;  ///< the tests' shapes rather than those of real models
  double seconds = 0.2;     ///< of each case
  bool json = false;
};

std::vector<float> random_floats(size_t count, uint32_t seed);

enum class Timing {
  kReplayed,  ///< on a GPU: many calls in a graph, so that what launching them costs does not count
  kCalled,    ///< for ops that wait for their result, or that no graph can have
};

class OpBench {
 public:
  /// `on_gpu`: one dtype throughout, and names begin with it. Both references must outlive the bench.
  OpBench(const BenchOptions& options, Subject& subject, bool on_gpu);

  const BenchOptions& options() const { return options_; }
  Subject& subject() { return subject_; }
  Backend& backend() { return backend_; }
  bool on_gpu() const { return on_gpu_; }
  /// Of weights and cache where only one dtype is measured.
  DType stored() const { return stored_; }
  /// Of one activation.
  double element_bytes() const { return element_bytes_; }

  void print_head();
  /// How many cases were measured.
  int measured() const { return measured_; }
  bool wanted(const std::string& name) const { return name.find(options_.filter) != std::string::npos; }
  /// Times `op` and prints its line.
  void measure(const std::string& name, const Work& work, const std::function<void()>& op,
               Timing timing = Timing::kReplayed);

  // --- inputs -----------------------------------------------------------------------------------------------------
  /// Device memory until free_inputs(); zeroed where `host` is null.
  void* memory(const void* host, size_t bytes);
  template <class T>
  T* on_device(const std::vector<T>& values) {
    return static_cast<T*>(memory(values.data(), values.size() * sizeof(T)));
  }
  /// Random numbers, as long as memory(); large ones repeat.
  void* random_memory(DType dtype, size_t count, uint32_t seed = 1);
  /// Random activations, until free_inputs().
  Tensor tensor(int64_t rows, int64_t cols, uint32_t seed = 1);
  /// Room for a result, until free_inputs().
  Tensor result(int64_t rows, int64_t cols);
  std::unique_ptr<Weight> weight(int64_t rows, int64_t cols, DType dtype);
  /// Enough copies that each call finds its weight in memory, not in a cache.
  std::vector<std::unique_ptr<Weight>> weights(int64_t rows, int64_t cols, DType dtype);
  void free_inputs() { buffers_.clear(); }

 private:
  /// Nanoseconds of one call, the mean of `calls`.
  double time(int calls, const std::function<void()>& op);
  /// Runs `op` often enough for its graph. Returns nanoseconds of one call, launches included.
  double warm_up(const std::function<void()>& op, Timing timing);

  const BenchOptions& options_;
  Subject& subject_;
  Backend& backend_;
  const bool on_gpu_;
  const DType stored_;
  const double element_bytes_;
  int measured_ = 0;
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
};

}  // namespace vitrine::bench

// Timed by events on the context's stream.
#include "backend/cuda/limits.h"

#include <algorithm>
#include <functional>
#include <random>
#include <utility>
#include <vector>

namespace vitrine::cuda {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 30;  // far larger than the second-level cache
constexpr int64_t kMatrixSize = 8192;

class Timer {
 public:
  Timer() {
    check(cudaEventCreate(&start_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Timer() {
    cudaEventDestroy(start_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  double seconds_of(cudaStream_t stream, const std::function<void()>& op) {
    check(cudaEventRecord(start_, stream), "cudaEventRecord");
    op();
    check(cudaEventRecord(end_, stream), "cudaEventRecord");
    check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_, end_), "cudaEventElapsedTime");
    return milliseconds / 1e3;
  }

  /// The best of the runs that fit in `budget` seconds; the first one warms up.
  double best_of(cudaStream_t stream, double budget, const std::function<void()>& op) {
    double left = budget - seconds_of(stream, op);
    double best = seconds_of(stream, op);
    for (left -= best; left > 0;) {
      const double time = seconds_of(stream, op);
      best = std::min(best, time);
      left -= std::max(time, 1e-6);
    }
    return best;
  }

 private:
  cudaEvent_t start_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

/// Random signs and fractions, sizes from 1/2 to 1: equal numbers would draw less power, and so be multiplied faster
/// than those of a model. `memory`: a multiple of the pattern.
void fill_with_numbers(VitrineCudaContext& context, const DeviceMemory& memory) {
  // Of a 32-bit word, which holds one number or two: the bits that may be anything, and those of the exponent.
  const auto [free_bits, exponent] = context.dtype == VITRINE_FLOAT32   ? std::pair{0x807fffffU, 0x3f000000U}
                                     : context.dtype == VITRINE_FLOAT16 ? std::pair{0x83ff83ffU, 0x38003800U}
                                                                        : std::pair{0x807f807fU, 0x3f003f00U};
  std::mt19937 random(1);
  std::vector<uint32_t> pattern(size_t{1} << 20);
  for (uint32_t& word : pattern) word = (static_cast<uint32_t>(random()) & free_bits) | exponent;
  const size_t bytes = pattern.size() * sizeof(uint32_t);
  for (size_t done = 0; done < memory.bytes(); done += bytes) {
    context.transfers.write(static_cast<char*>(memory.data()) + done, pattern.data(), bytes);
  }
}

}  // namespace

VitrineCudaLimits measure_limits(VitrineCudaContext& context, double seconds) {
  const cudaStream_t stream = context.stream.get();
  Timer timer;
  VitrineCudaLimits limits{};
  {
    const DeviceMemory from(kCopyBytes);
    const DeviceMemory to(kCopyBytes);
    check(cudaMemsetAsync(from.data(), 1, kCopyBytes, stream), "cudaMemsetAsync");
    const double time = timer.best_of(stream, seconds / 2, [&] {
      check(cudaMemcpyAsync(to.data(), from.data(), kCopyBytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
    });
    limits.copy_bytes_per_second = 2.0 * static_cast<double>(kCopyBytes) / time;
  }
  const size_t matrix_bytes = static_cast<size_t>(kMatrixSize * kMatrixSize) * dtype_bytes(context.dtype);
  const DeviceMemory x(matrix_bytes);
  const DeviceMemory weight(matrix_bytes);
  const DeviceMemory out(matrix_bytes);
  for (const DeviceMemory* operand : {&x, &weight}) fill_with_numbers(context, *operand);
  const Gemm job{x.data(),    weight.data(), nullptr,       out.data(),   kMatrixSize,
                 kMatrixSize, kMatrixSize,   context.dtype, context.dtype};
  if (!context.linear.multiply_by_library(job, nullptr, stream)) return limits;
  const double time =
      timer.best_of(stream, seconds / 2, [&] { context.linear.multiply_by_library(job, nullptr, stream); });
  limits.matmul_flops_per_second = 2.0 * static_cast<double>(kMatrixSize) * kMatrixSize * kMatrixSize / time;
  return limits;
}

}  // namespace vitrine::cuda

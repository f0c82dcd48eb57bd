// Timing and inputs of kernel_bench.
#include "bench/op_bench.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "core/clock.h"

namespace vitrine::bench {

namespace {

constexpr int kMostCalls = 1000;                   // of a graph
constexpr size_t kRandomPeriod = size_t{4} << 20;  // random numbers are slower to make than to copy

}  // namespace

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::minstd_rand generator(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(generator() % 2001) / 1000.0f - 1.0f;
  return values;
}

OpBench::OpBench(const BenchOptions& options, Subject& subject, bool on_gpu)
    : options_(options),
      subject_(subject),
      backend_(subject.backend()),
      on_gpu_(on_gpu),
      stored_(on_gpu ? backend_.activation_dtype() : DType::kBFloat16),
      element_bytes_(static_cast<double>(dtype_size(backend_.activation_dtype()))) {}

void OpBench::print_head() {
  if (options_.json) return;
  std::printf(
      "%s share: least possible time at their\n"
      "mean (the slower of reading and multiplying) over the median time.\n",
      subject_.title().c_str());
  std::printf("%-44s %11s %11s %8s %8s %17s %7s\n", "op", "median us", "min us", "GB/s", "GFLOP/s", "limits GB/s GF/s",
              "share");
}

double OpBench::time(int calls, const std::function<void()>& op) {
  const int64_t start = monotonic_ns();
  for (int i = 0; i < calls; ++i) op();
  backend_.synchronize();
  return static_cast<double>(monotonic_ns() - start) / calls;
}

double OpBench::warm_up(const std::function<void()>& op, Timing timing) {
  if (timing == Timing::kCalled || !backend_.queues_steps()) {
    time(1, op);
    return time(1, op);
  }
  constexpr int kCalls = 16;  // a launch is queued sooner than the first one's result is there
  const auto in_step = [&] {
    backend_.begin_step(StepMemory::kFixed);
    for (int i = 0; i < kCalls; ++i) op();
    backend_.end_step();
    backend_.finish_step();
  };
  in_step();
  return time(1, in_step) / kCalls;
}

void OpBench::measure(const std::string& name, const Work& work, const std::function<void()>& op, Timing timing) {
  ++measured_;
  const Rates before = subject_.rates(work);
  const double once = warm_up(op, timing);
  const int calls = std::clamp(static_cast<int>(subject_.batch_ns() / once), 1, kMostCalls);
  const auto repeat = [&] {
    for (int i = 0; i < calls; ++i) op();
  };
  const auto graph = timing == Timing::kReplayed ? backend_.capture(repeat) : nullptr;
  const auto run = [&] { graph == nullptr ? repeat() : graph->replay(); };
  if (graph != nullptr) time(1, run);
  std::vector<double> times;
  const int64_t end = monotonic_ns() + static_cast<int64_t>(options_.seconds * 1e9);
  while (times.size() < 5 || monotonic_ns() < end) times.push_back(time(1, run) / calls);
  const Rates after = subject_.rates(work);
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const double read = (before.read + after.read) / 2;
  const double flops = (before.flops + after.flops) / 2;
  const double share = std::max(work.bytes / read, flops > 0 ? work.flops / flops : 0) / median;
  const std::string label = on_gpu_ ? std::string(dtype_name(backend_.activation_dtype())) + " " + name : name;
  const char* format =
      options_.json ? "{\"op\": \"%s\", \"median_us\": %.3f, \"min_us\": %.3f, \"gbps\": %.3f, \"gflops\": %.3f, "
                      "\"limit_gbps\": %.3f, \"limit_gflops\": %.1f, \"share\": %.4f}\n"
                    : "%-44s %11.2f %11.2f %8.2f %8.1f %8.1f %8.0f %7.3f\n";
  std::printf(format, label.c_str(), median / 1e3, times[0] / 1e3, work.bytes / median, work.flops / median, read,
              flops, share);
  std::fflush(stdout);
}

void* OpBench::memory(const void* host, size_t bytes) {
  buffers_.push_back(backend_.allocate(bytes));
  if (host != nullptr) backend_.write(buffers_.back()->data(), host, bytes);
  return buffers_.back()->data();
}

void* OpBench::random_memory(DType dtype, size_t count, uint32_t seed) {
  const auto values = random_floats(std::min(count, kRandomPeriod), seed);
  std::vector<uint16_t> halves;
  std::vector<uint8_t> bytes;
  const void* source = values.data();
  if (dtype == DType::kFloat8E4M3) {
    bytes.resize(values.size());
    std::transform(values.begin(), values.end(), bytes.begin(), float_to_e4m3);
    source = bytes.data();
  } else if (dtype != DType::kFloat32) {
    halves.resize(values.size());
    std::transform(values.begin(), values.end(), halves.begin(),
                   dtype == DType::kFloat16 ? float_to_half : float_to_bf16);
    source = halves.data();
  }
  auto* const start = static_cast<char*>(memory(nullptr, count * dtype_size(dtype)));
  for (size_t done = 0; done < count; done += values.size()) {
    backend_.write(start + done * dtype_size(dtype), source, std::min(values.size(), count - done) * dtype_size(dtype));
  }
  return start;
}

Tensor OpBench::tensor(int64_t rows, int64_t cols, uint32_t seed) {
  const DType dtype = backend_.activation_dtype();
  return {random_memory(dtype, static_cast<size_t>(rows * cols), seed), dtype, rows, cols};
}

Tensor OpBench::result(int64_t rows, int64_t cols) {
  const DType dtype = backend_.activation_dtype();
  return {memory(nullptr, static_cast<size_t>(rows * cols) * dtype_size(dtype)), dtype, rows, cols};
}

std::unique_ptr<Weight> OpBench::weight(int64_t rows, int64_t cols, DType dtype) {
  auto result = backend_.create_weight(WeightKind::kMatrix, rows, cols, dtype);
  const auto values = random_floats(static_cast<size_t>(cols) * 64, 3);
  for (int64_t row = 0; row < rows; row += 64) {
    backend_.load_rows(*result, row, std::min<int64_t>(64, rows - row), values.data(), DType::kFloat32);
  }
  return result;
}

std::vector<std::unique_ptr<Weight>> OpBench::weights(int64_t rows, int64_t cols, DType dtype) {
  constexpr size_t kTotal = size_t{1} << 30;  // the last cache level of servers has hundreds of megabytes
  std::vector<std::unique_ptr<Weight>> copies;
  copies.push_back(weight(rows, cols, dtype));
  const size_t count =
      options_.test_cases ? 1 : std::clamp<size_t>(kTotal / std::max<size_t>(copies[0]->bytes(), 1), 1, 1024);
  while (copies.size() < count) copies.push_back(weight(rows, cols, dtype));
  return copies;
}

}  // namespace vitrine::bench

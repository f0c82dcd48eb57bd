// Times every op family of a backend and sets it beside what the device can do, measured in the same run.
//   kernel_bench [--device cpu|cuda] [--filter TEXT] [--isa NAME] [--threads N] [--cases bench|test] [--seconds S]
//   [--json]
// On the CPU: linear beside oneDNN's too, where that was installed when this was built.
// On a GPU: once with each dtype; its limits are a copy within its memory and the matrix product of cublasLt.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/limit_probe.h"
#include "backend/cuda_adapter/cuda_backend.h"
#include "bench/onednn_linear.h"
#include "core/check.h"
#include "core/clock.h"
#include "op_cases.h"
#include "test_device.h"

namespace vitrine::bench {
namespace {

struct Options {
  std::string device = "cpu";
  std::string filter;
  std::string isa;
  int threads = 0;
  bool test_cases = false;
  double seconds = 0.2;  ///< of each case
  bool json = false;
};

/// What one call of an op must read or write at least, and compute.
struct Work {
  double bytes = 0;
  double flops = 0;
  bool bf16 = false;  ///< multiplies pairs of bfloat16
};

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::minstd_rand generator(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(generator() % 2001) / 1000.0f - 1.0f;
  return values;
}

struct Rates {
  double read = 0;   ///< bytes per nanosecond
  double flops = 0;  ///< operations per nanosecond; 0: unknown
};

/// A device under test: its backend and what it can do at best.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Backend& backend() = 0;
  virtual std::string title() const = 0;
  /// Right now, for such work.
  virtual Rates rates(const Work& work) = 0;
  /// Dtypes of weights and caches.
  virtual std::vector<DType> dtypes() const = 0;
  /// bfloat16 activations and weights are multiplied in pairs.
  virtual bool pairs(DType dtype) const = 0;
  /// Calls of an op that are timed together, at least so long: what starts a GPU takes longer than many an op.
  virtual double batch_ns() const = 0;
};

class CpuSubject final : public Subject {
 public:
  CpuSubject(CpuIsa isa, ThreadPool& pool)
      : isa_(isa), pool_(pool), backend_(make_cpu_backend(isa, pool)), probe_(pool) {}

  Backend& backend() override { return *backend_; }
  std::string title() const override {
    return std::string(cpu_isa_name(isa_)) + ", " + std::to_string(pool_.size()) +
           " threads. Limits are measured before and after each case;";
  }
  Rates rates(const Work& work) override {
    const double bf16 = work.bf16 ? probe_.bfloat16_rate() : 0;
    return {probe_.read_rate() / 1e9, (bf16 > 0 ? bf16 : probe_.float32_rate()) / 1e9};
  }
  std::vector<DType> dtypes() const override { return {std::begin(test::kDTypes), std::end(test::kDTypes)}; }
  bool pairs(DType dtype) const override { return dtype == DType::kBFloat16 && isa_ == CpuIsa::kAvx512Bf16; }
  double batch_ns() const override { return 0; }

 private:
  CpuIsa isa_;
  ThreadPool& pool_;
  std::unique_ptr<Backend> backend_;
  LimitProbe probe_;
};

class CudaSubject final : public Subject {
 public:
  CudaSubject(const CudaLibrary& library, DType dtype) : dtype_(dtype), backend_(make_cuda_backend(library, 0, dtype)) {
    const CudaLimits limits = measure_cuda_limits(*backend_, 2.0);
    rates_ = {limits.copy_bytes_per_second / 1e9, limits.matmul_flops_per_second / 1e9};
    title_ = std::string(library.devices()[0].name) + ", " + std::string(dtype_name(dtype)) + ", " +
             cuda_matmul_library(*backend_) + ". Limits were measured before the first case;";
  }

  Backend& backend() override { return *backend_; }
  std::string title() const override { return title_; }
  Rates rates(const Work&) override { return rates_; }
  std::vector<DType> dtypes() const override { return {dtype_}; }
  bool pairs(DType) const override { return false; }
  double batch_ns() const override { return 2e6; }

 private:
  DType dtype_;
  std::unique_ptr<Backend> backend_;
  Rates rates_;
  std::string title_;
};

class Bench {
 public:
  Bench(const Options& options, Subject& subject)
      : options_(options),
        subject_(subject),
        backend_(subject.backend()),
        on_gpu_(options.device == "cuda"),
        stored_(on_gpu_ ? backend_.activation_dtype() : DType::kBFloat16),
        element_bytes_(static_cast<double>(dtype_size(backend_.activation_dtype()))) {}

  void run() {
    if (!options_.json) {
      std::printf(
          "%s share: least possible time at their\n"
          "mean (the slower of reading and multiplying) over the median time.\n",
          subject_.title().c_str());
      std::printf("%-44s %11s %11s %8s %8s %17s %7s\n", "op", "median us", "min us", "GB/s", "GFLOP/s",
                  "limits GB/s GF/s", "share");
    }
    linear();
    attention();
    moe();
    rows();
    logits();
  }

 private:
  bool wanted(const std::string& name) const { return name.find(options_.filter) != std::string::npos; }

  /// Nanoseconds of one call, the mean of `calls`.
  double time(int calls, const std::function<void()>& op) {
    const int64_t start = monotonic_ns();
    for (int i = 0; i < calls; ++i) op();
    backend_.synchronize();
    return static_cast<double>(monotonic_ns() - start) / calls;
  }

  void measure(const std::string& name, const Work& work, const std::function<void()>& op) {
    const Rates before = subject_.rates(work);
    std::vector<double> times;
    time(1, op);
    const double once = time(1, op);
    const int calls = std::max(1, static_cast<int>(subject_.batch_ns() / once));
    const int64_t end = monotonic_ns() + static_cast<int64_t>(options_.seconds * 1e9);
    while (times.size() < 5 || monotonic_ns() < end) times.push_back(time(calls, op));
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

  void* memory(const void* host, size_t bytes) {
    buffers_.push_back(backend_.allocate(bytes));
    if (host != nullptr) backend_.write(buffers_.back()->data(), host, bytes);
    return buffers_.back()->data();
  }

  /// In the device's memory, as long as buffers_.
  template <class T>
  T* on_device(const std::vector<T>& values) {
    return static_cast<T*>(memory(values.data(), values.size() * sizeof(T)));
  }

  Tensor tensor(int64_t rows, int64_t cols, uint32_t seed = 1) {
    const DType dtype = backend_.activation_dtype();
    const auto values = random_floats(static_cast<size_t>(rows * cols), seed);
    if (dtype == DType::kFloat32) return {on_device(values), dtype, rows, cols};
    std::vector<uint16_t> stored(values.size());
    std::transform(values.begin(), values.end(), stored.begin(),
                   dtype == DType::kFloat16 ? float_to_half : float_to_bf16);
    return {on_device(stored), dtype, rows, cols};
  }

  std::unique_ptr<Weight> weight(int64_t rows, int64_t cols, DType dtype) {
    auto result = backend_.create_weight(WeightKind::kMatrix, rows, cols, dtype);
    const auto values = random_floats(static_cast<size_t>(cols) * 64, 3);
    for (int64_t row = 0; row < rows; row += 64) {
      backend_.load_rows(*result, row, std::min<int64_t>(64, rows - row), values.data(), DType::kFloat32);
    }
    return result;
  }

  /// Enough copies that each call finds its weight in memory, not in a cache.
  std::vector<std::unique_ptr<Weight>> weights(int64_t rows, int64_t cols, DType dtype) {
    constexpr size_t kTotal = size_t{256} << 20;
    std::vector<std::unique_ptr<Weight>> copies;
    copies.push_back(weight(rows, cols, dtype));
    const size_t count =
        options_.test_cases ? 1 : std::clamp<size_t>(kTotal / std::max<size_t>(copies[0]->bytes(), 1), 1, 64);
    while (copies.size() < count) copies.push_back(weight(rows, cols, dtype));
    return copies;
  }

  std::vector<test::GemmCase> gemm_cases() const {
    if (options_.test_cases) return test::gemm_cases();
    return on_gpu_ ? test::gemm_gpu_bench_cases() : test::gemm_bench_cases();
  }

  std::vector<test::AttentionCase> attention_cases() const {
    if (options_.test_cases) return test::attention_cases();
    return on_gpu_ ? test::attention_gpu_bench_cases() : test::attention_bench_cases();
  }

  void linear() {
    for (const DType dtype : subject_.dtypes()) {
      std::vector<std::unique_ptr<Weight>> copies;
      for (const test::GemmCase& shape : gemm_cases()) {
        const std::string name = "linear " + std::string(dtype_name(dtype)) + " m" + std::to_string(shape.m) + " n" +
                                 std::to_string(shape.n) + " k" + std::to_string(shape.k);
        if (!wanted(name) || shape.m == 0) continue;
        if (copies.empty() || copies[0]->rows() != shape.n || copies[0]->cols() != shape.k) {
          copies = weights(shape.n, shape.k, dtype);
        }
        buffers_.clear();
        const Tensor x = tensor(shape.m, shape.k);
        const Tensor out = tensor(shape.m, shape.n);
        size_t next = 0;
        const double products =
            static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
        const double activations = element_bytes_ * static_cast<double>(shape.m * (shape.n + shape.k));
        const Work work{static_cast<double>(copies[0]->bytes()) + activations, 2 * products, subject_.pairs(dtype)};
        measure(name, work, [&] { backend_.linear(*copies[next++ % copies.size()], nullptr, x, out); });
        if (!on_gpu_) peer(name, work, shape, dtype, static_cast<int64_t>(copies.size()));
      }
    }
  }

  void peer(const std::string& name, const Work& work, const test::GemmCase& shape, DType dtype, int64_t copies) {
    const auto theirs = OneDnnLinear::create(shape.m, shape.n, shape.k, dtype, copies);
    if (theirs == nullptr) return;
    measure("  oneDNN " + name, work, [&] { theirs->run(); });
    // Its threads go on spinning for a while.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  void attention() {
    for (const DType dtype : subject_.dtypes()) {
      for (const test::AttentionCase& shape : attention_cases()) {
        const std::string name =
            "attention " + std::string(dtype_name(dtype)) + " h" + std::to_string(shape.num_heads) + "/" +
            std::to_string(shape.num_kv_heads) + " d" + std::to_string(shape.head_dim) + " b" +
            std::to_string(shape.block_size) + " r" + std::to_string(shape.seq_lens.size()) +
            (shape.seq_lens.empty()
                 ? ""
                 : " q" + std::to_string(shape.query_lens[0]) + " s" + std::to_string(shape.seq_lens[0]));
        if (wanted(name) && !shape.seq_lens.empty()) attend(name, shape, dtype);
      }
    }
  }

  void attend(const std::string& name, const test::AttentionCase& shape, DType dtype) {
    buffers_.clear();
    std::vector<int32_t> query_start = {0};
    std::vector<int32_t> block_start = {0};
    std::vector<int32_t> blocks;
    Work work;
    work.bf16 = subject_.pairs(dtype);
    const double pair_flops = 4.0 * shape.num_heads * shape.head_dim;
    for (size_t r = 0; r < shape.seq_lens.size(); ++r) {
      query_start.push_back(query_start.back() + shape.query_lens[r]);
      for (int32_t i = 0; i * shape.block_size < shape.seq_lens[r]; ++i)
        blocks.push_back(static_cast<int32_t>(blocks.size()));
      block_start.push_back(static_cast<int32_t>(blocks.size()));
      const double keys = shape.seq_lens[r];
      const double queries = shape.query_lens[r];
      work.flops += pair_flops * queries * (keys - (queries - 1) / 2);
      work.bytes += 2 * keys * shape.num_kv_heads * shape.head_dim * static_cast<double>(dtype_size(dtype));
    }
    std::shuffle(blocks.begin(), blocks.end(), std::minstd_rand(5));
    KvLayer cache;
    cache.dtype = dtype;
    cache.num_blocks = static_cast<int64_t>(blocks.size());
    cache.block_size = shape.block_size;
    cache.num_kv_heads = shape.num_kv_heads;
    cache.head_dim = shape.head_dim;
    const size_t cache_bytes =
        blocks.size() * static_cast<size_t>(shape.block_size * shape.num_kv_heads * shape.head_dim) * dtype_size(dtype);
    const std::vector<uint16_t> contents(cache_bytes / 2, uint16_t{0x3c00});
    std::vector<KvLayer> layers;  // as many as it takes to leave the caches
    const size_t copies = options_.test_cases ? 1 : std::clamp<size_t>((size_t{128} << 20) / cache_bytes, 1, 64);
    for (size_t i = 0; i < copies; ++i) {
      for (void** to : {&cache.k, &cache.v}) {
        *to = on_device(contents);
      }
      layers.push_back(cache);
    }
    const Tensor qkv = tensor(query_start.back(), (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim);
    const Tensor out = tensor(query_start.back(), shape.num_heads * shape.head_dim);
    backend_.attention().plan({shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.block_size, 0.125f},
                              {static_cast<int32_t>(shape.seq_lens.size()), query_start.back(), on_device(query_start),
                               on_device(shape.seq_lens), on_device(block_start), on_device(blocks), query_start.data(),
                               shape.seq_lens.data()});
    size_t next = 0;
    measure(name, work, [&] { backend_.attention().run(layers[next++ % layers.size()], qkv, shape.window, out); });
  }

  void moe() {
    for (const test::MoeCase& shape : options_.test_cases ? test::moe_cases() : test::moe_bench_cases()) {
      const std::string name = "moe " + std::string(dtype_name(stored_)) + " t" + std::to_string(shape.tokens) + " h" +
                               std::to_string(shape.hidden) + " i" + std::to_string(shape.inner) + " e" +
                               std::to_string(shape.experts) + "/" + std::to_string(shape.top_k);
      if (!wanted(name) || shape.tokens == 0) continue;
      buffers_.clear();
      std::vector<std::unique_ptr<Weight>> parameters;
      std::vector<ExpertWeights> experts;
      for (int32_t e = 0; e < shape.experts; ++e) {
        parameters.push_back(weight(2 * shape.inner, shape.hidden, stored_));
        parameters.push_back(weight(shape.hidden, shape.inner, stored_));
        experts.push_back({parameters[parameters.size() - 2].get(), parameters.back().get()});
      }
      const Tensor x = tensor(shape.tokens, shape.hidden);
      const Tensor router = tensor(shape.tokens, shape.experts);
      const Tensor out = tensor(shape.tokens, shape.hidden);
      const auto choices = static_cast<size_t>(shape.tokens * shape.top_k);
      const MoeRouting routing{static_cast<int32_t*>(memory(nullptr, choices * sizeof(int32_t))),
                               static_cast<float*>(memory(nullptr, choices * sizeof(float))), shape.experts,
                               shape.top_k, shape.normalize};
      backend_.moe_route(router, routing);
      const size_t used = distinct(routing.expert_ids, choices);
      const double size = 3.0 * static_cast<double>(shape.hidden * shape.inner);
      measure(name,
              {static_cast<double>(used) * size * static_cast<double>(dtype_size(stored_)),
               2 * size * static_cast<double>(choices), subject_.pairs(stored_)},
              [&] {
                backend_.moe_route(router, routing);
                backend_.moe_experts(x, routing, experts, Activation::kSilu, out);
              });
    }
  }

  /// Different ids among those in the device's memory.
  size_t distinct(int32_t* ids, size_t count) {
    std::vector<float> words(count);  // bits of the ids
    if (on_gpu_) {
      backend_.download({ids, DType::kFloat32, 1, static_cast<int64_t>(count)}, words.data());
      backend_.synchronize();
    } else {
      std::memcpy(words.data(), ids, count * sizeof(int32_t));
    }
    std::vector<int32_t> found(count);
    std::memcpy(found.data(), words.data(), count * sizeof(int32_t));
    std::sort(found.begin(), found.end());
    return static_cast<size_t>(std::unique(found.begin(), found.end()) - found.begin());
  }

  /// Ops that pass over rows once: norms, rope, activations, embedding.
  void rows() {
    for (const int64_t m : {1, 32, 1024}) {
      buffers_.clear();
      const std::string suffix = " m" + std::to_string(m);
      const auto elements = [m, this](int64_t cols, double passes) {
        return Work{element_bytes_ * static_cast<double>(m * cols) * passes, 0, false};
      };
      const auto gain = backend_.create_weight(WeightKind::kVector, 2048, 1, DType::kFloat32);
      if (wanted("add_rms_norm")) {
        const Tensor x = tensor(m, 2048);
        const Tensor delta = tensor(m, 2048);
        const Tensor out = tensor(m, 2048);
        measure("add_rms_norm n2048" + suffix, elements(2048, 4),
                [&] { backend_.add_rms_norm(x, delta, *gain, 1e-5f, out); });
      }
      for (const auto& [activation, label] :
           {std::pair{Activation::kSilu, "silu"}, {Activation::kGeluTanh, "gelu_tanh"}, {Activation::kGelu, "gelu"}}) {
        const std::string name = std::string("gated_") + label + " n8192" + suffix;
        if (!wanted(name)) continue;
        const Tensor gate_up = tensor(m, 16384);
        const Tensor out = tensor(m, 8192);
        measure(name, elements(8192, 3), [&, chosen = activation] { backend_.gated_activation(gate_up, chosen, out); });
      }
      if (wanted("rope_and_store")) rope(m, suffix);
      if (wanted("embed")) {
        const auto table = weight(32000, 2048, stored_);
        std::vector<int32_t> ids(static_cast<size_t>(m));
        for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7919 % 32000);
        const Tensor out = tensor(m, 2048);
        const int32_t* device_ids = on_device(ids);
        measure("embed " + std::string(dtype_name(stored_)) + " n2048" + suffix, elements(2048, on_gpu_ ? 2 : 1.5),
                [&] { backend_.embed(*table, device_ids, out); });
      }
    }
  }

  void rope(int64_t m, const std::string& suffix) {
    const auto angles = random_floats(static_cast<size_t>(m) * 64, 9);
    std::vector<int32_t> positions(static_cast<size_t>(m));
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
    KvLayer cache{nullptr, nullptr, stored_, (m + 15) / 16, 16, 8, 64};
    for (void** to : {&cache.k, &cache.v}) {
      *to = memory(nullptr, static_cast<size_t>(cache.num_blocks) * 16 * 8 * 64 * dtype_size(stored_));
    }
    const Tensor qkv = tensor(m, (32 + 16) * 64);
    const RopeTable table{on_device(angles), m, 64};
    const int32_t* device_positions = on_device(positions);
    const std::string name = "rope_and_store " + std::string(dtype_name(stored_)) + " h32/8 d64" + suffix;
    measure(name, {element_bytes_ * static_cast<double>(m) * 48 * 64 * 2, 0, false}, [&] {
      backend_.rope_and_store(qkv, 32, table, nullptr, nullptr, 1e-5f, device_positions, device_positions, cache);
    });
  }

  void logits() {
    const int64_t vocab = 128256;
    struct Case {
      const char* name;
      float temperature;
      int32_t top_k;
      float top_p, min_p;
    };
    const Case cases[] = {{"sample greedy", 0, -1, 1, 0},
                          {"sample temperature", 1, -1, 1, 0},
                          {"sample top_k 50", 1, 50, 1, 0},
                          {"sample top_p 0.9", 0.1f, -1, 0.9f, 0},
                          {"sample top_k 50 top_p 0.9 min_p 0.05", 0.7f, 50, 0.9f, 0.05f}};
    for (const size_t rows : {size_t{1}, size_t{32}}) {
      buffers_.clear();
      Tensor x;
      const Work work{element_bytes_ * static_cast<double>(rows) * static_cast<double>(vocab), 0, false};
      const std::string suffix = " v" + std::to_string(vocab) + " m" + std::to_string(rows);
      std::vector<int32_t> sampled(rows);
      for (const Case& each : cases) {
        if (!wanted(each.name + suffix)) continue;
        if (x.data == nullptr) x = tensor(static_cast<int64_t>(rows), vocab);
        SampleParams one;
        one.temperature = each.temperature;
        one.top_k = each.top_k;
        one.top_p = each.top_p;
        one.min_p = each.min_p;
        std::vector<SampleRequest> requests;
        for (size_t i = 0; i < rows; ++i) requests.push_back({static_cast<int32_t>(i), one, &sampled[i], nullptr});
        measure(each.name + suffix, work, [&] {
          backend_.plan_sampling(requests, {});
          backend_.sample(x, 0, rows);
          backend_.synchronize();
        });
      }
      if (!wanted("logprobs" + suffix)) continue;
      if (x.data == nullptr) x = tensor(static_cast<int64_t>(rows), vocab);
      float target = 0;
      std::vector<int32_t> top(5 * rows);
      std::vector<float> values(5 * rows);
      std::vector<LogprobRequest> requests(rows);
      for (size_t i = 0; i < rows; ++i) {
        requests[i].row = static_cast<int32_t>(i);
        requests[i].top_count = 5;
        requests[i].target_logprob = i == 0 ? &target : nullptr;
        requests[i].top_ids = top.data() + 5 * i;
        requests[i].top_logprobs = values.data() + 5 * i;
      }
      measure("logprobs top 5" + suffix, work, [&] {
        backend_.plan_sampling({}, requests);
        backend_.logprobs(x, 0, rows);
        backend_.synchronize();
      });
    }
  }

  const Options& options_;
  Subject& subject_;
  Backend& backend_;
  const bool on_gpu_;
  const DType stored_;  ///< of weights and cache where only one is measured
  const double element_bytes_;
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
};

constexpr const char* kFlags = "; flags: --device --filter --isa --threads --cases --seconds --json";

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--json") {
      options.json = true;
      continue;
    }
    require(i + 1 < argc, flag, " needs a value", kFlags);
    const std::string value = argv[++i];
    if (flag == "--device") {
      require(value == "cpu" || value == "cuda", "--device must be cpu or cuda, got ", value);
      options.device = value;
    } else if (flag == "--filter") {
      options.filter = value;
    } else if (flag == "--isa") {
      options.isa = value;
    } else if (flag == "--threads") {
      options.threads = std::stoi(value);
    } else if (flag == "--seconds") {
      options.seconds = std::stod(value);
    } else if (flag == "--cases") {
      require(value == "bench" || value == "test", "--cases must be bench or test, got ", value);
      options.test_cases = value == "test";
    } else {
      fail("unknown flag ", flag, kFlags);
    }
  }
  return options;
}

void run_on_cpu(const Options& options) {
  const auto supported = supported_cpu_isas();
  require(!supported.empty(), "this processor lacks AVX2");
  const auto isa = options.isa.empty() ? supported.back() : parse_cpu_isa(options.isa);
  require(isa.has_value(), "--isa must be avx2, avx512 or avx512_bf16, got ", options.isa);
  ThreadPool pool(options.threads);
  OneDnnLinear::start(pool.size());
  pool.pin_caller();
  CpuSubject subject(*isa, pool);
  Bench(options, subject).run();
}

void run_on_gpu(const Options& options) {
  const CudaLibrary library = test::open_cuda_library();
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
    CudaSubject subject(library, dtype);
    Bench(options, subject).run();
  }
}

}  // namespace
}  // namespace vitrine::bench

int main(int argc, char** argv) {
  using namespace vitrine;
  try {
    const bench::Options options = bench::parse(argc, argv);
    options.device == "cuda" ? bench::run_on_gpu(options) : bench::run_on_cpu(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

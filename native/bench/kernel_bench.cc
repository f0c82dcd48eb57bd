// Times every op family of a backend and sets it beside what the device can do, measured in the same run.
//   kernel_bench [--device cpu|cuda] [--dtype NAME] [--filter TEXT] [--isa NAME] [--threads N] [--cases bench|test]
//   [--seconds S] [--json]
// On the CPU: linear beside oneDNN's too, where that was installed when this was built.
// On a GPU: once with each dtype, or with --dtype; its limits are a copy within its memory and the matrix product of
// cublasLt. Prefill attention is timed once more without the kernels of Hopper.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/families.h"
#include "bench/onednn_linear.h"
#include "core/check.h"
#include "test_device.h"

namespace vitrine::bench {
namespace {

struct Options {
  std::string device = "cpu";
  std::vector<DType> dtypes = {DType::kBFloat16, DType::kFloat16, DType::kFloat32};  ///< of a GPU
  std::string isa;
  int threads = 0;
  BenchOptions bench;
};

constexpr const char* kAttentionVariable = "VITRINE_CUDA_ATTENTION";
constexpr const char* kUsage =
    "kernel_bench [--device cpu|cuda] [--dtype NAME] [--filter TEXT] [--isa NAME] [--threads N]\n"
    "  [--cases bench|test] [--seconds S] [--json]\n"
    "Times every op family of a backend beside what the device can do. --filter: part of the names of the cases.\n";
constexpr const char* kFlags = "; flags: --device --dtype --filter --isa --threads --cases --seconds --json";

template <class Number>
Number number_of(const std::string& flag, const std::string& text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  require(error == std::errc() && at == end && number >= 0, flag, " must be a number from 0 on, got ", text);
  return number;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (flag == "--json") {
      options.bench.json = true;
      continue;
    }
    require(i + 1 < argc, flag, " needs a value", kFlags);
    const std::string value = argv[++i];
    if (flag == "--device") {
      require(value == "cpu" || value == "cuda", "--device must be cpu or cuda, got ", value);
      options.device = value;
    } else if (flag == "--dtype") {
      std::erase_if(options.dtypes, [&](DType dtype) { return dtype_name(dtype) != value; });
      require(!options.dtypes.empty(), "--dtype must be bfloat16, float16 or float32, got ", value);
    } else if (flag == "--filter") {
      options.bench.filter = value;
    } else if (flag == "--isa") {
      options.isa = value;
    } else if (flag == "--threads") {
      options.threads = number_of<int>(flag, value);
    } else if (flag == "--seconds") {
      options.bench.seconds = number_of<double>(flag, value);
    } else if (flag == "--cases") {
      require(value == "bench" || value == "test", "--cases must be bench or test, got ", value);
      options.bench.test_cases = value == "test";
    } else {
      fail("unknown flag ", flag, kFlags);
    }
  }
  require(options.device == "cuda" || options.dtypes.size() == 3, "--dtype: the CPU is measured with every dtype");
  return options;
}

/// Returns how many cases were measured.
int run_families(const BenchOptions& options, Subject& subject, bool on_gpu) {
  OpBench bench(options, subject, on_gpu);
  bench.print_head();
  bench_linear(bench);
  bench_attention(bench);
  bench_moe(bench);
  bench_rows(bench);
  bench_logits(bench);
  return bench.measured();
}

int run_on_cpu(const Options& options) {
  const auto isa = options.isa.empty() ? best_cpu_isa(supported_cpu_isas()) : parse_cpu_isa(options.isa);
  require(isa.has_value(), "--isa must be avx2, avx512, avx512_bf16 or amx_bf16, got ", options.isa);
  ThreadPool pool(options.threads);
  OneDnnLinear::start(pool.size());
  pool.pin_caller();
  return run_families(options.bench, *make_cpu_subject(*isa, pool), false);
}

int run_on_gpu(const Options& options) {
  const CudaLibrary library = test::open_cuda_library();
  int measured = 0;
  for (const DType dtype : options.dtypes) {
    measured += run_families(options.bench, *make_cuda_subject(library, dtype), true);
    if (dtype == DType::kFloat32 || std::getenv(kAttentionVariable) != nullptr) continue;  // no other kernel
    setenv(kAttentionVariable, "portable", 1);                                             // read by a new backend
    const auto portable = make_cuda_subject(library, dtype);
    unsetenv(kAttentionVariable);
    OpBench bench(options.bench, *portable, true);
    bench_portable_attention(bench);
    measured += bench.measured();
  }
  return measured;
}

}  // namespace
}  // namespace vitrine::bench

int main(int argc, char** argv) {
  using namespace vitrine;
  try {
    const bench::Options options = bench::parse(argc, argv);
    const int measured = options.device == "cuda" ? bench::run_on_gpu(options) : bench::run_on_cpu(options);
    require(measured > 0, "--filter ", options.bench.filter,
            ": no case has this in its name; without --filter all cases are named");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

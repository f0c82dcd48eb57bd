// Matrix products, on the CPU beside those of oneDNN.
#include "bench/families.h"

#include <chrono>
#include <thread>

#include "bench/onednn_linear.h"
#include "op_cases.h"

namespace vitrine::bench {
namespace {

std::vector<test::GemmCase> gemm_cases(const OpBench& bench) {
  if (bench.options().test_cases) return test::gemm_cases();
  return bench.on_gpu() ? test::gemm_gpu_bench_cases() : test::gemm_bench_cases();
}

void bench_peer(OpBench& bench, const std::string& name, const Work& work, const test::GemmCase& shape, DType dtype,
                int64_t copies) {
  const auto theirs = OneDnnLinear::create(shape.m, shape.n, shape.k, dtype, copies);
  if (theirs == nullptr) return;
  bench.measure("  oneDNN " + name, work, [&] { theirs->run(); });
  // Its threads go on spinning for a while.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

}  // namespace

void bench_linear(OpBench& bench) {
  std::vector<DType> dtypes = bench.subject().dtypes();
  dtypes.push_back(DType::kFloat8E4M3);
  for (const DType dtype : dtypes) {
    std::vector<std::unique_ptr<Weight>> copies;
    for (const test::GemmCase& shape : gemm_cases(bench)) {
      const std::string name = "linear " + std::string(dtype_name(dtype)) + " m" + std::to_string(shape.m) + " n" +
                               std::to_string(shape.n) + " k" + std::to_string(shape.k);
      if (!bench.wanted(name) || shape.m == 0) continue;
      if (copies.empty() || copies[0]->rows() != shape.n || copies[0]->cols() != shape.k) {
        copies = bench.weights(shape.n, shape.k, dtype);
      }
      bench.free_inputs();
      const Tensor x = bench.tensor(shape.m, shape.k);
      const Tensor out = bench.result(shape.m, shape.n);
      size_t next = 0;
      const double products =
          static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
      const double activations = bench.element_bytes() * static_cast<double>(shape.m * (shape.n + shape.k));
      const Work work{static_cast<double>(copies[0]->bytes()) + activations, 2 * products,
                      bench.subject().pairs(dtype)};
      bench.measure(name, work, [&] { bench.backend().linear(*copies[next++ % copies.size()], nullptr, x, out); });
      if (!bench.on_gpu() && dtype != DType::kFloat8E4M3)
        bench_peer(bench, name, work, shape, dtype, static_cast<int64_t>(copies.size()));
    }
  }
}

}  // namespace vitrine::bench

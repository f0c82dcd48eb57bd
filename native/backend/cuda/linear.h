// Which matrix product runs: the streaming kernel for few tokens, cublasLt, or our own where cublasLt is absent or has
// no algorithm for the shape.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "backend/cuda/cublas_lt.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/memory.h"
#include "backend/cuda/weights.h"

namespace vitrine::cuda {

class Linear {
 public:
  explicit Linear(int compute_major);
  ~Linear();
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  /// out = x * weight^T (+ bias). All of one dtype, the bias too where it has a copy in it. Throws Error when shapes or
  /// dtypes do not fit.
  void run(const VitrineCudaWeight& weight, const VitrineCudaWeight* bias, const VitrineTensor& x,
           const VitrineTensor& out, cudaStream_t stream);

  /// The library path alone, for measuring; false where it cannot be taken.
  bool multiply_by_library(const Gemm& job, const void* bias, cudaStream_t stream);

  size_t device_bytes() const { return workspace_.bytes(); }
  /// "cublasLt 13.0.2", or "built-in kernels (why)".
  const std::string& description() const { return description_; }

 private:
  struct Plan {
    lt::MatmulDesc desc = nullptr;
    lt::MatrixLayout weight = nullptr, x = nullptr, out = nullptr;
    lt::MatmulAlgo algo{};
    bool usable = false;
  };
  using Key = std::tuple<int64_t, int64_t, int64_t, int, bool, uint32_t>;  ///< m, n, k, dtype, has bias, alignment

  Plan& plan_for(const Gemm& job, const void* bias);
  Plan make_plan(const Gemm& job, const void* bias, uint32_t alignment);
  void destroy(const Plan& plan);

  lt::Handle handle_ = nullptr;  ///< null: not usable
  DeviceMemory workspace_;
  std::map<Key, Plan> plans_;
  std::string description_;
};

}  // namespace vitrine::cuda

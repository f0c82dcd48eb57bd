// Which matrix product runs: the streaming kernel for few tokens, cublasLt, or our own where cublasLt is absent or has
// no algorithm for the shape. Inputs of float8 weights are quantized first.
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
  /// `fixed`: as in StepScratch.
  Linear(int compute_major, const bool& fixed);
  ~Linear();
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  /// out = x * weight^T (+ bias). All of one dtype, the bias too where it has a copy in it; the weight may be float8.
  /// Throws Error when shapes or dtypes do not fit.
  void run(const VitrineCudaWeight& weight, const VitrineCudaWeight* bias, const VitrineTensor& x,
           const VitrineTensor& out, cudaStream_t stream);

  /// The library path alone, for measuring; false where it cannot be taken.
  bool multiply_by_library(const Gemm& job, const void* bias, cudaStream_t stream);

  /// There is a float8 weight of so many columns: reserve() is to have room for its input.
  void expect_float8(int64_t cols);
  /// Room for the quantized inputs of steps of so many tokens, one a request where the step's memory is fixed.
  void reserve(int64_t max_tokens, int64_t max_requests);

  size_t device_bytes() const { return workspace_.bytes() + codes_.bytes() + scales_.bytes(); }
  /// "cublasLt 13.0.2", or "built-in kernels (why)".
  const std::string& description() const { return description_; }

 private:
  struct Plan {
    lt::MatmulDesc desc = nullptr;
    lt::MatrixLayout weight = nullptr, x = nullptr, out = nullptr;
    lt::MatmulAlgo algo{};
    bool usable = false;
  };
  /// m, n, k, dtype, dtype of out, has bias, alignment
  using Key = std::tuple<int64_t, int64_t, int64_t, int, int, bool, uint32_t>;

  Plan& plan_for(const Gemm& job, const void* bias);
  Plan make_plan(const Gemm& job, const void* bias, uint32_t alignment);
  static lt::Status set_scales(const Plan& plan, const Gemm& job);
  void destroy(const Plan& plan);

  lt::Handle handle_ = nullptr;  ///< null: not usable
  DeviceMemory workspace_;
  StepScratch codes_;          ///< of a quantized input
  StepScratch scales_;         ///< of its rows
  int64_t widest_float8_ = 0;  ///< bytes of a row of it
  std::map<Key, Plan> plans_;
  std::string description_;
};

}  // namespace vitrine::cuda

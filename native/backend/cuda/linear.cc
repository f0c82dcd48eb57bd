// cublasLt computes in column order: its D [n, m] = op(A) * B with A the weight, stored as [k, n] and transposed, and B
// the tokens [k, m]; so D lies in memory as our out [m, n].
#include "backend/cuda/linear.h"

#include <algorithm>

#include "backend/cuda/quantize_rows.h"

namespace vitrine::cuda {
namespace {

constexpr int64_t kFewTokens = 8;    // up to which our streaming of 16-bit weights is the faster (H100)
constexpr size_t kMostPlans = 4096;  // prefill brings ever new token counts
constexpr size_t kWorkspaceBytes = size_t{4} << 20;
constexpr size_t kWorkspaceBytesHopper = size_t{32} << 20;  // as NVIDIA recommends for each

cudaDataType_t data_type(int dtype) {
  switch (dtype) {
    case VITRINE_FLOAT32: return CUDA_R_32F;
    case VITRINE_FLOAT16: return CUDA_R_16F;
    case VITRINE_BFLOAT16: return CUDA_R_16BF;
    default: return CUDA_R_8F_E4M3;
  }
}

/// The largest power of two, 256 at most, that divides all addresses.
uint32_t common_alignment(std::initializer_list<const void*> addresses) {
  uintptr_t bits = 256;
  for (const void* address : addresses) bits |= reinterpret_cast<uintptr_t>(address);
  return static_cast<uint32_t>(bits & (~bits + 1));
}

bool rows_aligned_16(const Gemm& job) {
  return job.k * static_cast<int64_t>(dtype_bytes(job.dtype)) % 16 == 0 &&
         job.n * static_cast<int64_t>(dtype_bytes(job.out_dtype)) % 16 == 0;
}

void check_lt(lt::Status status, const char* what) { require(status == lt::kSuccess, what, ": status ", status); }

}  // namespace

Linear::Linear(int compute_major, const bool& fixed) : codes_(fixed), scales_(fixed) {
  const lt::Library& library = lt::library();
  if (!library.problem.empty()) {
    description_ = "built-in kernels (" + library.problem + ")";
    return;
  }
  if (const lt::Status status = library.create(&handle_); status != lt::kSuccess) {
    handle_ = nullptr;
    description_ = "built-in kernels (cublasLtCreate failed with status " + std::to_string(status) + ")";
    return;
  }
  workspace_ = DeviceMemory(compute_major >= 9 ? kWorkspaceBytesHopper : kWorkspaceBytes);
  const size_t version = library.version();  // 130002: 13.0.2, as from 12 on
  description_ = "cublasLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
                 std::to_string(version % 100);
}

Linear::~Linear() {
  for (const auto& [key, plan] : plans_) destroy(plan);
  if (handle_ != nullptr) lt::library().destroy(handle_);
}

void Linear::destroy(const Plan& plan) {
  const lt::Library& library = lt::library();
  if (plan.desc != nullptr) library.desc_destroy(plan.desc);
  for (const lt::MatrixLayout layout : {plan.weight, plan.x, plan.out}) {
    if (layout != nullptr) library.layout_destroy(layout);
  }
}

void Linear::run(const VitrineCudaWeight& weight, const VitrineCudaWeight* bias, const VitrineTensor& x,
                 const VitrineTensor& out, cudaStream_t stream) {
  require(x.cols == weight.cols && out.cols == weight.rows && x.rows == out.rows, "linear: [", x.rows, ", ", x.cols,
          "] times the transpose of [", weight.rows, ", ", weight.cols, "] does not give [", out.rows, ", ", out.cols,
          "]");
  const bool float8 = weight.dtype == VITRINE_FLOAT8_E4M3;
  require(weight.kind == VITRINE_MATRIX && (weight.dtype == x.dtype || float8) && x.dtype == out.dtype,
          "linear: weight, input and output must be of one dtype, got ", weight.dtype, ", ", x.dtype, " and ",
          out.dtype);
  Gemm job{x.data, weight.data, vector_data(bias), out.data, x.rows, weight.rows, weight.cols, x.dtype, x.dtype};
  if (float8) {
    job.dtype = weight.dtype;
    job.k = float8_row_bytes(weight.cols);
    void* const codes = codes_.reserve(static_cast<size_t>(job.m * job.k));
    auto* const scales = static_cast<float*>(scales_.reserve(static_cast<size_t>(job.m) * sizeof(float)));
    quantize_rows(x, codes, scales, stream);
    job.x = codes;
    job.token_scales = scales;
    job.row_scales = weight.scales;
  }
  const void* const library_bias = bias == nullptr ? nullptr : bias->activation_copy;
  const bool streams = supports_streaming(job);
  if (streams && (job.m <= kFewTokens || float8)) {
    streaming_gemm(job, stream);
  } else if (multiply_by_library(job, library_bias, stream)) {
    return;
  } else if (streams) {
    streaming_gemm(job, stream);
  } else {
    gemm(job, stream);
  }
}

void Linear::expect_float8(int64_t cols) { widest_float8_ = std::max(widest_float8_, float8_row_bytes(cols)); }

void Linear::reserve(int64_t max_tokens, int64_t max_requests) {
  if (widest_float8_ == 0) return;
  for (const bool fixed : {false, true}) {
    const auto tokens = static_cast<size_t>(fixed ? max_requests : max_tokens);
    codes_.reserve(tokens * static_cast<size_t>(widest_float8_), fixed);
    scales_.reserve(tokens * sizeof(float), fixed);
  }
}

bool Linear::multiply_by_library(const Gemm& job, const void* bias, cudaStream_t stream) {
  if (handle_ == nullptr || job.m == 0 || job.n == 0 || job.k == 0) return false;
  // Beside float8 operands cublasLt takes the bias of a float32 output for bfloat16.
  if (job.dtype == VITRINE_FLOAT8_E4M3 && job.out_dtype == VITRINE_FLOAT32 && bias != nullptr) return false;
  // For rows that are not of whole 16 bytes its kernels round the sum to 16 bits before they add the bias (13.1, H100).
  if (bias != nullptr && !rows_aligned_16(job)) return false;
  Plan& plan = plan_for(job, bias);
  if (!plan.usable) return false;
  const lt::Library& library = lt::library();
  if (bias != nullptr) {
    check_lt(library.desc_set(plan.desc, lt::kBiasPointer, &bias, sizeof bias), "cublasLt's bias pointer");
  }
  if (job.dtype == VITRINE_FLOAT8_E4M3) check_lt(set_scales(plan, job), "cublasLt's scale pointers");
  const float one = 1.0f;
  const float zero = 0.0f;
  check_lt(library.matmul(handle_, plan.desc, &one, job.weight, plan.weight, job.x, plan.x, &zero, job.out, plan.out,
                          job.out, plan.out, &plan.algo, workspace_.data(), workspace_.bytes(), stream),
           "cublasLtMatmul");
  return true;
}

Linear::Plan& Linear::plan_for(const Gemm& job, const void* bias) {
  const uint32_t alignment = common_alignment({job.x, job.weight, job.out});
  const Key key{job.m, job.n, job.k, job.dtype, job.out_dtype, bias != nullptr, alignment};
  if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
  if (plans_.size() >= kMostPlans) {
    for (const auto& [old, plan] : plans_) destroy(plan);
    plans_.clear();
  }
  return plans_.emplace(key, make_plan(job, bias, alignment)).first->second;
}

/// Vectors for the rows of the weight and of x, which are cublasLt's A and B.
lt::Status Linear::set_scales(const Plan& plan, const Gemm& job) {
  const lt::Library& library = lt::library();
  const lt::Status status = library.desc_set(plan.desc, lt::kScalePointerA, &job.row_scales, sizeof job.row_scales);
  if (status != lt::kSuccess) return status;
  return library.desc_set(plan.desc, lt::kScalePointerB, &job.token_scales, sizeof job.token_scales);
}

/// Not usable when cublasLt refuses any part of it.
Linear::Plan Linear::make_plan(const Gemm& job, const void* bias, uint32_t alignment) {
  const lt::Library& library = lt::library();
  const cudaDataType_t type = data_type(job.dtype);
  const auto m = static_cast<uint64_t>(job.m);
  const auto n = static_cast<uint64_t>(job.n);
  const auto k = static_cast<uint64_t>(job.k);
  Plan plan;
  lt::MatmulPreference preference = nullptr;
  bool ok = library.desc_create(&plan.desc, lt::kComputeFloat32, CUDA_R_32F) == lt::kSuccess &&
            library.desc_set(plan.desc, lt::kTransA, &lt::kTranspose, sizeof lt::kTranspose) == lt::kSuccess &&
            library.layout_create(&plan.weight, type, k, n, job.k) == lt::kSuccess &&
            library.layout_create(&plan.x, type, k, m, job.k) == lt::kSuccess &&
            library.layout_create(&plan.out, data_type(job.out_dtype), n, m, job.n) == lt::kSuccess &&
            library.preference_create(&preference) == lt::kSuccess;
  if (ok && job.dtype == VITRINE_FLOAT8_E4M3) {
    for (const int attribute : {lt::kScaleModeA, lt::kScaleModeB}) {
      ok = ok &&
           library.desc_set(plan.desc, attribute, &lt::kScaleOuterVector, sizeof lt::kScaleOuterVector) == lt::kSuccess;
    }
    ok = ok && set_scales(plan, job) == lt::kSuccess;
  }
  if (ok && bias != nullptr) {  // the choice of an algorithm looks at the pointer's alignment
    ok = library.desc_set(plan.desc, lt::kEpilogue, &lt::kEpilogueBias, sizeof lt::kEpilogueBias) == lt::kSuccess &&
         library.desc_set(plan.desc, lt::kBiasPointer, &bias, sizeof bias) == lt::kSuccess;
  }
  if (ok) {
    const uint64_t workspace = workspace_.bytes();
    ok = library.preference_set(preference, lt::kMaxWorkspaceBytes, &workspace, sizeof workspace) == lt::kSuccess;
    for (const int attribute : {lt::kMinAlignmentA, lt::kMinAlignmentB, lt::kMinAlignmentC, lt::kMinAlignmentD}) {
      ok = ok && library.preference_set(preference, attribute, &alignment, sizeof alignment) == lt::kSuccess;
    }
  }
  if (ok) {
    lt::HeuristicResult result{};
    int found = 0;
    const lt::Status status =
        library.heuristic(handle_, plan.desc, plan.weight, plan.x, plan.out, plan.out, preference, 1, &result, &found);
    plan.usable = status == lt::kSuccess && found > 0 && result.state == lt::kSuccess;
    plan.algo = result.algo;
  }
  if (preference != nullptr) library.preference_destroy(preference);
  return plan;
}

}  // namespace vitrine::cuda

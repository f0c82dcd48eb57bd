// The CPU measures its limits before and after each case, a GPU once.
#include "bench/subject.h"

#include "backend/cpu/limit_probe.h"
#include "backend/cuda_adapter/cuda_backend.h"
#include "op_cases.h"

namespace vitrine::bench {
namespace {

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
  bool pairs(DType dtype) const override { return dtype == DType::kBFloat16 && has_bf16_products(isa_); }
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
             cuda_matmul_library(*backend_) +
             ". Ops are replayed from graphs of many calls where they do not wait.\nLimits were measured before the "
             "first case;";
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

}  // namespace

std::unique_ptr<Subject> make_cpu_subject(CpuIsa isa, ThreadPool& pool) {
  return std::make_unique<CpuSubject>(isa, pool);
}

std::unique_ptr<Subject> make_cuda_subject(const CudaLibrary& library, DType dtype) {
  return std::make_unique<CudaSubject>(library, dtype);
}

}  // namespace vitrine::bench

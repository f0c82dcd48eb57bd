// A device under test: its backend, and what the device can do at best.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_adapter/cuda_library.h"
#include "core/thread_pool.h"

namespace vitrine::bench {

/// What one call of an op must read or write at least, and compute.
struct Work {
  double bytes = 0;
  double flops = 0;
  bool bf16 = false;  ///< multiplies pairs of bfloat16
};

struct Rates {
  double read = 0;   ///< bytes per nanosecond
  double flops = 0;  ///< operations per nanosecond; 0: unknown
};

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
  /// Calls of an op that are timed together, so long: what starts a GPU takes longer than many an op.
  virtual double batch_ns() const = 0;
};

/// Both must outlive the subject.
std::unique_ptr<Subject> make_cpu_subject(CpuIsa isa, ThreadPool& pool);
std::unique_ptr<Subject> make_cuda_subject(const CudaLibrary& library, DType dtype);

}  // namespace vitrine::bench

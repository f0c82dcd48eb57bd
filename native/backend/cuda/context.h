// A device as one engine thread uses it: its stream and what ops need beside their tensors.
#pragma once

#include "backend/cuda/graph.h"
#include "backend/cuda/linear.h"
#include "backend/cuda/memory.h"
#include "backend/cuda/mixture_of_experts.h"
#include "backend/cuda/paged_attention.h"
#include "backend/cuda/sampler.h"
#include "backend/cuda/step_inputs.h"
#include "backend/cuda/step_results.h"
#include "backend/cuda/transfers.h"

namespace vitrine::cuda {

/// Owns a stream that does not wait for the legacy default stream.
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Number of devices; throws Error NO_DRIVER, OLD_DRIVER or NO_DEVICE.
int device_count();
VitrineCudaDevice describe_device(int index);

}  // namespace vitrine::cuda

/// Behind the opaque handle of cuda_api.h. The device is current for the thread while one is made.
struct VitrineCudaContext {
  VitrineCudaContext(int device, const VitrineCudaDevice& description, int dtype)
      : device(device),
        dtype(dtype),
        multiprocessors(description.multiprocessors),
        transfers(stream.get()),
        inputs(stream.get()),
        results(stream.get()),
        capture(stream.get()),
        linear(description.compute_major, fixed_memory),
        sampler(inputs, results),
        attention(inputs, fixed_memory, dtype, description.multiprocessors),
        experts(transfers, fixed_memory) {
    vitrine::cuda::launches_overlap();  // refuses what VITRINE_CUDA_PDL may not be
  }

  /// The stream to queue an op on: what the step has uploaded before is there.
  cudaStream_t queue() {
    if (!capture.active()) inputs.flush();
    return stream.get();
  }

  const int device;
  const int dtype;  ///< of the activations
  const int multiprocessors;
  vitrine::cuda::Stream stream;
  vitrine::cuda::Transfers transfers;
  vitrine::cuda::StepInputs inputs;
  vitrine::cuda::StepResults results;
  vitrine::cuda::Capture capture;
  bool fixed_memory = false;  ///< of the current step
  vitrine::cuda::Linear linear;
  vitrine::cuda::Sampler sampler;
  vitrine::cuda::PagedAttention attention;
  vitrine::cuda::MixtureOfExperts experts;
  vitrine::cuda::Scratch conversion;  ///< stored rows on their way to another dtype

  /// See Backend::reserve().
  void reserve(const VitrineStepLimits& limits);
  size_t scratch_bytes() const;
};

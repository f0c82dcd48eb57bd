// A CUDA graph that was captured from the context's stream. Engine thread.
#pragma once

#include "backend/cuda/launch.h"

/// Behind the opaque handle of cuda_api.h.
struct VitrineCudaGraph {
  explicit VitrineCudaGraph(cudaGraphExec_t exec_, int32_t nodes_) : exec(exec_), nodes(nodes_) {}
  ~VitrineCudaGraph() { cudaGraphExecDestroy(exec); }
  VitrineCudaGraph(const VitrineCudaGraph&) = delete;
  VitrineCudaGraph& operator=(const VitrineCudaGraph&) = delete;

  const cudaGraphExec_t exec;
  const int32_t nodes;
};

namespace vitrine::cuda {

/// The capture that is going on, if one is. Nothing may be allocated, freed or waited for by its thread meanwhile;
/// other threads may do as they like.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {}
  ~Capture() { abandon(); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  bool active() const { return graph_ != nullptr; }
  void begin();
  int32_t nodes() const;
  /// The captured ops, ready to be launched: instantiated and on the device.
  VitrineCudaGraph* end();
  /// Ends it and throws away what was captured. Does nothing where none goes on.
  void abandon();

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
};

}  // namespace vitrine::cuda

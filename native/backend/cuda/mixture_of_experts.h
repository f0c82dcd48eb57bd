// The experts of a mixture: scratch and the tables of their weights. Engine thread.
#pragma once

#include <map>
#include <vector>

#include "backend/cuda/memory.h"
#include "backend/cuda/moe_kernels.h"
#include "backend/cuda/transfers.h"

namespace vitrine::cuda {

class MixtureOfExperts {
 public:
  explicit MixtureOfExperts(Transfers& transfers) : transfers_(transfers) {}

  /// As Backend::moe_experts. Tokens are processed in slices, which bounds the scratch and changes no result. A layer's
  /// first call copies the addresses of its weights to the device.
  void run(const VitrineTensor& x, const VitrineMoeRouting& routing, const VitrineExpert* experts, int activation,
           const VitrineTensor& out, cudaStream_t stream);

  /// Has the scratch for steps of so many tokens and the table of the layer's weights ready.
  void reserve(const VitrineMoeLayer& layer, int64_t max_tokens);
  size_t device_bytes() const;

 private:
  /// Addresses of a layer's weights, on the host and on the device: first all gate_up, then all down.
  struct WeightTable {
    std::vector<const void*> host;
    DeviceMemory device;
  };

  /// Of a slice.
  struct Workspace {
    ExpertGroups groups;
    void* activated = nullptr;
    void* results = nullptr;
  };

  Workspace workspace(const VitrineExpert& expert, int32_t num_experts, int64_t choices);
  const void* const* weight_table(const VitrineExpert* experts, int32_t num_experts);

  Transfers& transfers_;
  std::map<const VitrineCudaWeight*, WeightTable> tables_;  ///< by the first expert's gate_up
  std::vector<const void*> addresses_;                      ///< reused
  Scratch groups_;
  Scratch activated_;  ///< [choices of a slice, inner]
  Scratch results_;    ///< [choices of a slice, hidden]
};

}  // namespace vitrine::cuda

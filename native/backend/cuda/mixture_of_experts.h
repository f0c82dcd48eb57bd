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
  /// `fixed`: as in StepScratch.
  MixtureOfExperts(Transfers& transfers, const bool& fixed)
      : transfers_(transfers), groups_(fixed), activated_(fixed), results_(fixed) {}

  /// As Backend::moe_experts. Tokens are processed in slices, which bounds the scratch and changes no result. A layer's
  /// first call copies the addresses of its weights to the device.
  void run(const VitrineTensor& x, const VitrineMoeRouting& routing, const VitrineExpert* experts, int activation,
           const VitrineTensor& out, cudaStream_t stream);

 private:
  /// Addresses of a layer's weights, on the host and on the device: first all gate_up, then all down.
  struct WeightTable {
    std::vector<const void*> host;
    DeviceMemory device;
  };

  const void* const* weight_table(const VitrineExpert* experts, int32_t num_experts);

  Transfers& transfers_;
  std::map<const VitrineCudaWeight*, WeightTable> tables_;  ///< by the first expert's gate_up
  std::vector<const void*> addresses_;                      ///< reused
  StepScratch groups_;
  StepScratch activated_;  ///< [choices of a slice, inner]
  StepScratch results_;    ///< [choices of a slice, hidden]
};

}  // namespace vitrine::cuda

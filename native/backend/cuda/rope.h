// Norm of heads, rotary embedding and the store into the paged cache, in one pass over qkv.
#pragma once

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// See Backend::rope_and_store. The cache may have another dtype than qkv.
void rope_and_store(const VitrineTensor& qkv, int32_t num_heads, const VitrineRope& rope, const float* q_norm,
                    const float* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                    const VitrineKvLayer& cache, cudaStream_t stream);

}  // namespace vitrine::cuda

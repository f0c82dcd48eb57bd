// Parameters in device memory: a matrix [rows, cols] row by row in its dtype (of float8 the rows float8_row_bytes(cols)
// apart, and a scale for each), a vector [n] in float32 and, for cublasLt's bias, in the dtype of the activations.
#pragma once

#include <cstddef>
#include <memory>

#include "backend/cuda/cuda_api.h"

/// Behind the opaque handle of cuda_api.h.
struct VitrineCudaWeight {
  void* data = nullptr;
  void* activation_copy = nullptr;  ///< of a vector; is `data` where activations are float32
  float* scales = nullptr;          ///< of a float8 matrix
  int64_t rows = 0;
  int64_t cols = 0;
  int32_t kind = VITRINE_MATRIX;
  int32_t dtype = VITRINE_FLOAT32;  ///< a vector's is float32
};

namespace vitrine::cuda {

VitrineCudaWeight* create_weight(VitrineCudaContext& context, int kind, int64_t rows, int64_t cols, int dtype);
void destroy_weight(VitrineCudaWeight* weight);
size_t weight_bytes(const VitrineCudaContext& context, const VitrineCudaWeight& weight);

/// See Backend::load_rows; queued, `source` may change on return.
void load_rows(VitrineCudaContext& context, VitrineCudaWeight& weight, int64_t first_row, int64_t row_count,
               const void* source, int stored);

/// See Backend::load_quantized_rows; likewise.
void load_quantized_rows(VitrineCudaContext& context, VitrineCudaWeight& weight, int64_t first_row, int64_t row_count,
                         const void* source, const float* scales);

inline const float* vector_data(const VitrineCudaWeight* weight) {
  return weight == nullptr ? nullptr : static_cast<const float*>(weight->data);
}

}  // namespace vitrine::cuda

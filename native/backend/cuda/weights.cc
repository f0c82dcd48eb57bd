// Allocation of parameters and the way of stored rows into them.
#include "backend/cuda/weights.h"

#include <algorithm>

#include "backend/cuda/context.h"
#include "backend/cuda/rows.h"

namespace vitrine::cuda {
namespace {

constexpr int64_t kChunkElements = int64_t{2} << 20;  // that wait for their conversion

char* advance(void* data, int64_t elements, int dtype) {
  return static_cast<char*>(data) + elements * static_cast<int64_t>(dtype_bytes(dtype));
}

size_t bytes_of(int64_t elements, int dtype) { return static_cast<size_t>(elements) * dtype_bytes(dtype); }

}  // namespace

VitrineCudaWeight* create_weight(const VitrineCudaContext& context, int kind, int64_t rows, int64_t cols, int dtype) {
  require(kind != VITRINE_VECTOR || cols == 1, "a vector weight has one column, got ", cols);
  const bool vector = kind == VITRINE_VECTOR;
  auto weight = std::make_unique<VitrineCudaWeight>();
  weight->rows = rows;
  weight->cols = cols;
  weight->kind = kind;
  weight->dtype = vector ? VITRINE_FLOAT32 : dtype;
  weight->data = allocate_device_memory(bytes_of(rows * cols, weight->dtype));
  if (vector) {
    weight->activation_copy = weight->data;
    if (context.dtype != VITRINE_FLOAT32) {
      try {
        weight->activation_copy = allocate_device_memory(bytes_of(rows, context.dtype));
      } catch (...) {
        cudaFree(weight->data);
        throw;
      }
    }
  }
  return weight.release();
}

void destroy_weight(VitrineCudaWeight* weight) {
  if (weight == nullptr) return;
  if (weight->activation_copy != weight->data) cudaFree(weight->activation_copy);
  cudaFree(weight->data);
  delete weight;
}

size_t weight_bytes(const VitrineCudaContext& context, const VitrineCudaWeight& weight) {
  const int64_t elements = weight.rows * weight.cols;
  const bool copied = weight.activation_copy != nullptr && weight.activation_copy != weight.data;
  return bytes_of(elements, weight.dtype) + (copied ? bytes_of(elements, context.dtype) : 0);
}

void load_rows(VitrineCudaContext& context, VitrineCudaWeight& weight, int64_t first_row, int64_t row_count,
               const void* source, int stored) {
  require(first_row >= 0 && row_count >= 0 && first_row + row_count <= weight.rows, "rows ", first_row, " to ",
          first_row + row_count, " are not within the weight's ", weight.rows);
  const cudaStream_t stream = context.stream.get();
  const int64_t first = first_row * weight.cols;
  const int64_t count = row_count * weight.cols;
  if (stored == weight.dtype) {
    context.transfers.write(advance(weight.data, first, weight.dtype), source, bytes_of(count, stored));
  } else {
    for (int64_t done = 0; done < count; done += kChunkElements) {
      const int64_t part = std::min(count - done, kChunkElements);
      void* waiting = context.conversion.reserve(bytes_of(kChunkElements, VITRINE_FLOAT32));
      const char* from = static_cast<const char*>(source) + bytes_of(done, stored);
      context.transfers.write(waiting, from, bytes_of(part, stored));
      convert(waiting, stored, advance(weight.data, first + done, weight.dtype), weight.dtype, part, stream);
    }
  }
  if (weight.activation_copy != nullptr && weight.activation_copy != weight.data) {
    convert(advance(weight.data, first, weight.dtype), weight.dtype,
            advance(weight.activation_copy, first, context.dtype), context.dtype, count, stream);
  }
}

}  // namespace vitrine::cuda

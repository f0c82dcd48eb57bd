// Allocation of parameters and the way of stored rows into them.
#include "backend/cuda/weights.h"

#include <algorithm>

#include "backend/cuda/context.h"
#include "backend/cuda/quantize_rows.h"
#include "backend/cuda/rows.h"

namespace vitrine::cuda {
namespace {

constexpr int64_t kChunkElements = int64_t{2} << 20;  // that wait for their conversion

char* advance(void* data, int64_t elements, int dtype) {
  return static_cast<char*>(data) + elements * static_cast<int64_t>(dtype_bytes(dtype));
}

size_t bytes_of(int64_t elements, int dtype) { return static_cast<size_t>(elements) * dtype_bytes(dtype); }

size_t matrix_bytes(const VitrineCudaWeight& weight) {
  if (weight.dtype != VITRINE_FLOAT8_E4M3) return bytes_of(weight.rows * weight.cols, weight.dtype);
  return static_cast<size_t>(weight.rows * float8_row_bytes(weight.cols));
}

struct WeightDeleter {
  void operator()(VitrineCudaWeight* weight) const { destroy_weight(weight); }
};

void check_rows(const VitrineCudaWeight& weight, int64_t first_row, int64_t row_count) {
  require(first_row >= 0 && row_count >= 0 && first_row + row_count <= weight.rows, "rows ", first_row, " to ",
          first_row + row_count, " are not within the weight's ", weight.rows);
}

/// Calls use(stored rows on the device, index of the first, how many) for parts of all rows, queued.
template <class Use>
void with_rows_on_device(VitrineCudaContext& context, int64_t cols, int64_t row_count, const void* source, int stored,
                         Use use) {
  const int64_t step = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(cols, 1));
  for (int64_t done = 0; done < row_count; done += step) {
    const int64_t rows = std::min(row_count - done, step);
    void* const waiting = context.conversion.reserve(bytes_of(std::max(kChunkElements, cols), VITRINE_FLOAT32));
    context.transfers.write(waiting, static_cast<const char*>(source) + bytes_of(done * cols, stored),
                            bytes_of(rows * cols, stored));
    use(waiting, done, rows);
  }
}

}  // namespace

VitrineCudaWeight* create_weight(VitrineCudaContext& context, int kind, int64_t rows, int64_t cols, int dtype) {
  require(kind != VITRINE_VECTOR || cols == 1, "a vector weight has one column, got ", cols);
  const bool vector = kind == VITRINE_VECTOR;
  std::unique_ptr<VitrineCudaWeight, WeightDeleter> weight(new VitrineCudaWeight);
  weight->rows = rows;
  weight->cols = cols;
  weight->kind = kind;
  weight->dtype = vector ? VITRINE_FLOAT32 : dtype;
  weight->data = allocate_device_memory(matrix_bytes(*weight));
  if (vector) {
    weight->activation_copy =
        context.dtype == VITRINE_FLOAT32 ? weight->data : allocate_device_memory(bytes_of(rows, context.dtype));
  }
  if (weight->dtype == VITRINE_FLOAT8_E4M3) {
    weight->scales = static_cast<float*>(allocate_device_memory(bytes_of(rows, VITRINE_FLOAT32)));
    check(cudaMemsetAsync(weight->data, 0, matrix_bytes(*weight), context.stream.get()), "cudaMemsetAsync");
    context.linear.expect_float8(cols);
  }
  return weight.release();
}

void destroy_weight(VitrineCudaWeight* weight) {
  if (weight == nullptr) return;
  if (weight->activation_copy != weight->data) cudaFree(weight->activation_copy);
  cudaFree(weight->scales);
  cudaFree(weight->data);
  delete weight;
}

size_t weight_bytes(const VitrineCudaContext& context, const VitrineCudaWeight& weight) {
  const bool copied = weight.activation_copy != nullptr && weight.activation_copy != weight.data;
  return matrix_bytes(weight) + (copied ? bytes_of(weight.rows, context.dtype) : 0) +
         (weight.scales != nullptr ? bytes_of(weight.rows, VITRINE_FLOAT32) : 0);
}

void load_rows(VitrineCudaContext& context, VitrineCudaWeight& weight, int64_t first_row, int64_t row_count,
               const void* source, int stored) {
  check_rows(weight, first_row, row_count);
  const cudaStream_t stream = context.stream.get();
  const int64_t first = first_row * weight.cols;
  const int64_t count = row_count * weight.cols;
  if (weight.dtype == VITRINE_FLOAT8_E4M3) {
    require(stored != VITRINE_FLOAT8_E4M3, "rows of float8 are loaded with their scales");
    with_rows_on_device(context, weight.cols, row_count, source, stored, [&](void* from, int64_t done, int64_t rows) {
      const int64_t row = first_row + done;
      quantize_rows({from, rows, weight.cols, stored},
                    static_cast<char*>(weight.data) + row * float8_row_bytes(weight.cols), weight.scales + row, stream);
    });
  } else if (stored == weight.dtype) {
    context.transfers.write(advance(weight.data, first, weight.dtype), source, bytes_of(count, stored));
  } else {
    with_rows_on_device(context, weight.cols, row_count, source, stored, [&](void* from, int64_t done, int64_t rows) {
      convert(from, stored, advance(weight.data, first + done * weight.cols, weight.dtype), weight.dtype,
              rows * weight.cols, stream);
    });
  }
  if (weight.activation_copy != nullptr && weight.activation_copy != weight.data) {
    convert(advance(weight.data, first, weight.dtype), weight.dtype,
            advance(weight.activation_copy, first, context.dtype), context.dtype, count, stream);
  }
}

void load_quantized_rows(VitrineCudaContext& context, VitrineCudaWeight& weight, int64_t first_row, int64_t row_count,
                         const void* source, const float* scales) {
  require(weight.dtype == VITRINE_FLOAT8_E4M3, "quantized rows are loaded into float8 weights");
  check_rows(weight, first_row, row_count);
  const auto stride = static_cast<size_t>(float8_row_bytes(weight.cols));
  const auto width = static_cast<size_t>(weight.cols);
  char* const to = static_cast<char*>(weight.data) + static_cast<size_t>(first_row) * stride;
  context.transfers.write(weight.scales + first_row, scales, bytes_of(row_count, VITRINE_FLOAT32));
  if (width == stride) {
    context.transfers.write(to, source, static_cast<size_t>(row_count) * stride);
    return;
  }
  with_rows_on_device(
      context, weight.cols, row_count, source, VITRINE_FLOAT8_E4M3, [&](void* from, int64_t done, int64_t rows) {
        check(cudaMemcpy2DAsync(to + static_cast<size_t>(done) * stride, stride, from, width, width,
                                static_cast<size_t>(rows), cudaMemcpyDeviceToDevice, context.stream.get()),
              "cudaMemcpy2DAsync");
      });
}

}  // namespace vitrine::cuda

// cublasLt, loaded at run time when the machine has it: this library runs without it and is not linked with it. The
// declarations follow NVIDIA's documentation of the cuBLASLt API (the same in CUDA 12 and 13).
#pragma once

#include <library_types.h>

#include <string>

#include "backend/cuda/launch.h"

namespace vitrine::cuda::lt {

using Status = int;
using Handle = void*;
using MatmulDesc = void*;
using MatrixLayout = void*;
using MatmulPreference = void*;

struct MatmulAlgo {
  uint64_t data[8];
};

struct HeuristicResult {
  MatmulAlgo algo;
  size_t workspace_size;
  Status state;
  float waves_count;
  int reserved[4];
};

constexpr Status kSuccess = 0;
constexpr int kComputeFloat32 = 68;  // CUBLAS_COMPUTE_32F
constexpr int32_t kTranspose = 1;    // CUBLAS_OP_T
constexpr uint32_t kEpilogueBias = 4;
constexpr int32_t kScaleOuterVector = 3;  // CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F, of 12.9 and newer
enum DescAttribute : int {
  kTransA = 3,
  kEpilogue = 7,
  kBiasPointer = 8,
  kScalePointerA = 17,
  kScalePointerB = 18,
  kScaleModeA = 31,
  kScaleModeB = 32
};
enum PreferenceAttribute : int {
  kMaxWorkspaceBytes = 1,
  kMinAlignmentA = 5,
  kMinAlignmentB = 6,
  kMinAlignmentC = 7,
  kMinAlignmentD = 8
};

struct Library {
  Status (*create)(Handle*) = nullptr;
  Status (*destroy)(Handle) = nullptr;
  size_t (*version)() = nullptr;
  Status (*desc_create)(MatmulDesc*, int compute_type, cudaDataType_t scale_type) = nullptr;
  Status (*desc_destroy)(MatmulDesc) = nullptr;
  Status (*desc_set)(MatmulDesc, int attribute, const void* value, size_t bytes) = nullptr;
  Status (*layout_create)(MatrixLayout*, cudaDataType_t, uint64_t rows, uint64_t cols, int64_t leading) = nullptr;
  Status (*layout_destroy)(MatrixLayout) = nullptr;
  Status (*preference_create)(MatmulPreference*) = nullptr;
  Status (*preference_destroy)(MatmulPreference) = nullptr;
  Status (*preference_set)(MatmulPreference, int attribute, const void* value, size_t bytes) = nullptr;
  Status (*heuristic)(Handle, MatmulDesc, MatrixLayout a, MatrixLayout b, MatrixLayout c, MatrixLayout d,
                      MatmulPreference, int wanted, HeuristicResult*, int* found) = nullptr;
  Status (*matmul)(Handle, MatmulDesc, const void* alpha, const void* a, MatrixLayout, const void* b, MatrixLayout,
                   const void* beta, const void* c, MatrixLayout, void* d, MatrixLayout, const MatmulAlgo*,
                   void* workspace, size_t workspace_bytes, cudaStream_t) = nullptr;

  std::string problem;  ///< why it cannot be used; empty: it can
};

/// Looked for once in a process: the loader's path, then where toolkits are installed.
const Library& library();

}  // namespace vitrine::cuda::lt
